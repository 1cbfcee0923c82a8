"""Writes a job of NVFlare, which are files of JSON: federated averaging of a bundle over clients of own data."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..utils import atomic_write

SERVER = "server"
AVERAGING = "nvflare.app_common.workflows.fedavg.FedAvg"
PERSISTOR = "nvflare.app_opt.pt.file_model_persistor.PTFileModelPersistor"
NETWORK = "flemme_monai.federated.network_of"
EXECUTOR = "flemme_monai.federated.executor.BundleExecutor"


def write_job(
    folder: Path, bundle: Path, clients: Sequence[str], rounds: int, local_epochs: int, settings: Mapping[str, Any]
) -> list[str]:
    """Write the folder of a job: an app of the server, and one of each client, ``site-1``, ``site-2``, ...

    The weights are averaged after each round, each client's by its steps (McMahan et al., Communication-efficient
    learning of deep networks from decentralized data, AISTATS 2017).

    Args:
        folder: of the job, a new one.
        bundle: the bundle's folder, which every site has at this place.
        clients: each one's folder of data.
        rounds: number of rounds.
        local_epochs: epochs that each client trains in a round.
        settings: of ``train.json``, by name.

    Returns:
        The clients' names.

    Raises:
        FileExistsError: If the folder holds something.
        FileNotFoundError: If the bundle has no ``train.json``.
    """
    if folder.exists() and any(folder.iterdir()):
        raise FileExistsError(f"{folder} holds files; expected a new folder: name another")
    if not (bundle / "configs" / "train.json").is_file():
        raise FileNotFoundError(f"{bundle} has no configs/train.json; expected a bundle: name its folder")
    network = {"path": NETWORK, "args": {"bundle": str(bundle), "settings": dict(settings)}}
    averaging = {"num_clients": len(clients), "num_rounds": rounds, "persistor_id": "persistor"}
    server = {
        "format_version": 2,
        "workflows": [_part("fedavg", AVERAGING, averaging)],
        "components": [_part("persistor", PERSISTOR, {"model": network})],
    }
    _write(folder / f"app_{SERVER}" / "config" / "config_fed_server.json", server)
    names = [f"site-{number}" for number in range(1, len(clients) + 1)]
    for name, data in zip(names, clients):
        own = {"bundle": str(bundle), "local_epochs": local_epochs, "settings": {**settings, "dataset_dir": data}}
        executor = {"path": EXECUTOR, "args": own}
        client = {"format_version": 2, "executors": [{"tasks": ["train"], "executor": executor}], "components": []}
        _write(folder / f"app_{name}" / "config" / "config_fed_client.json", client)
    apps = {f"app_{name}": [name] for name in (SERVER, *names)}
    meta = {"name": bundle.name, "resource_spec": {}, "min_clients": len(clients), "deploy_map": apps}
    _write(folder / "meta.json", meta)
    return names


def allow_classes(workspace: Path) -> None:
    """Let a workspace's sites build the classes of a job, which NVFlare 2.9 has each site list.

    Args:
        workspace: of NVFlare's simulator, or of a site.
    """
    resources = {"format_version": 2, "class_allow_list": [AVERAGING, PERSISTOR, NETWORK, EXECUTOR]}
    _write(workspace / "local" / "resources.json", resources)


def _part(name: str, path: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    return {"id": name, "path": path, "args": dict(arguments)}


def _write(path: Path, content: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as part:
        part.write_text(json.dumps(content, indent=4) + "\n", encoding="utf-8")

"""What a bundle must do, found out by building and running it: the live half of `check_bundle.py`.

Each check takes the folder of a temporary copy of a bundle, returns a remark or "", and raises what went wrong.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fnmatch import fnmatch
from functools import partial
from pathlib import Path
from pydoc import locate

import torch
from monai.bundle import ConfigParser, ckpt_export, load, verify_metadata, verify_net_in_out
from monai.bundle.scripts import _get_fake_input_shape
from torch import nn

from ..architectures.architecture import Architecture
from .bundle_files import (
    AUTOENCODER_WEIGHTS,
    WEIGHTS,
    missing_weights,
    read_config,
    trainings,
    walk,
    workflows,
)
from .bundle_runs import PLACES, check_run, read_stack, silenced, working_in

SCHEMAS = Path(__file__).resolve().parent / "schema"
NEWEST_NUMPY = (2, 2, 6)  # the newest for Python 3.10, on which the zoo installs the pinned versions

# bundle name pattern -> why its network cannot be scripted
TORCHSCRIPT_EXEMPTIONS: dict[str, str] = {}

# fmt: off
TRAIN_KEYS = [
    "bundle_root", "ckpt_dir", "output_dir", "dataset_dir", "device", "network_def", "network", "loss",
    "optimizer", "lr_scheduler", "train#preprocessing", "train#dataset#data", "train#dataloader",
    "train#inferer", "train#postprocessing", "train#handlers", "train#key_metric", "train#trainer#max_epochs",
    "validate#preprocessing", "validate#dataset#data", "validate#dataloader", "validate#inferer",
    "validate#postprocessing", "validate#handlers", "validate#key_metric", "validate#evaluator", "val_interval",
    "initialize", "run",
]
INFERENCE_KEYS = [
    "bundle_root", "ckpt_dir", "output_dir", "dataset_dir", "device", "network_def", "network", "dataset",
    "evaluator", "inferer", "preprocessing", "postprocessing", "handlers", "checkpointloader", "initialize",
    "run",
]
SETTINGS = [
    "dataset_dir", "spatial_dims", "in_channels", "image_size", "batch_size", "epochs", "learning_rate",
    "val_interval", "num_workers", "seed", "amp", "compile", "device", "bundle_root", "ckpt_dir", "output_dir",
]
# fmt: on
OUTPUTS = ("out_channels", "num_classes")


class ExemptError(Exception):
    """A check that a bundle need not pass, with the reason."""


@contextmanager
def temporary_copy(bundle: Path) -> Iterator[Path]:
    """A copy of a bundle in a temporary repository `<tmp>/bundles/<name>`, given random weights if it has none."""
    with tempfile.TemporaryDirectory(prefix="check_bundle_") as folder:
        copy = Path(folder).resolve() / "bundles" / bundle.name
        shutil.copytree(bundle, copy)
        with silenced():
            make_weights(copy)
        yield copy


def make_weights(bundle: Path) -> None:
    """Give a bundle random weights where it has none: no parameter is zero, so that every layer has an effect."""
    parser = read_stack(bundle, ("inference",))
    for name in missing_weights(bundle):
        network = parser.get_parsed_content("autoencoder_def" if name == AUTOENCODER_WEIGHTS else "network_def")
        for parameter in network.parameters():
            if not parameter.any():
                nn.init.normal_(parameter, std=0.02)
        if hasattr(network, "scale_factor"):
            nn.init.ones_(network.scale_factor)
        (bundle / name).parent.mkdir(parents=True, exist_ok=True)
        torch.save(network.state_dict(), bundle / name)


def forward_arguments(network: Architecture, batch: int, size: tuple[int, ...]) -> dict[str, torch.Tensor]:
    """What a network takes beside an image: time steps (B), which are as well sigmas, and its context.

    Args:
        network: an architecture.
        batch: number of images B.
        size: of the images.

    Returns:
        Arguments of its ``forward``.
    """
    settings = network.backbone.conditioning
    arguments = {}
    if settings and settings.timesteps:
        arguments["timesteps"] = torch.linspace(1, 50, batch)
    if settings and settings.context == "image":
        arguments["context"] = torch.rand(batch, settings.size, *size)
    elif settings and settings.context:
        shape = (batch,) if settings.context == "class" else (batch, settings.size)
        kind = torch.float32 if settings.context == "vector" else torch.long
        arguments["context"] = torch.zeros(shape, dtype=kind)
    return arguments


def check_metadata(bundle: Path) -> str:
    """metadata.json follows its schema (a shipped copy) and pins versions that install on Python 3.10."""
    metadata = read_config(bundle, "metadata")
    schema = SCHEMAS / str(metadata.get("schema")).rpartition("/")[2]
    if not schema.is_file():
        known = ", ".join(path.name for path in sorted(SCHEMAS.glob("*.json")))
        raise ValueError(f"its schema is {metadata.get('schema')!r}, expected a URL that ends in {known}.")
    verify_metadata(meta_file=str(bundle / "configs" / "metadata.json"), filepath=str(schema))
    numpy_version = tuple(int(part) for part in metadata["numpy_version"].split(".")[:3])
    if numpy_version > NEWEST_NUMPY:
        raise ValueError(f"numpy_version {metadata['numpy_version']} does not install on Python 3.10 (at most 2.2.6).")
    return schema.name


def check_keys(bundle: Path) -> str:
    """The ids that MONAI's clients read and the settings a user overrides are in the configs."""
    missing = []
    for name in (*trainings(bundle), "inference"):
        keys = INFERENCE_KEYS if name == "inference" else [*TRAIN_KEYS, *SETTINGS]
        parser = read_stack(bundle, (name,))
        missing += [f"{name}.json: {key}" for key in dict.fromkeys(keys) if key not in parser]
        if not any(key in parser for key in OUTPUTS):
            missing.append(f"{name}.json: {' or '.join(OUTPUTS)}")
    if missing:
        raise ValueError(f"missing {', '.join(missing)}.")
    return ""


def check_references(bundle: Path) -> str:
    """Every `_target_` can be imported and every `@id` of each stack of configs is defined; nothing is built."""
    several = {f"{name}, multi-GPU": (name, "multi_gpu_train") for name in trainings(bundle)}
    stacks = workflows(bundle) | several
    for overlay, below in {"interpolate": "inference", "pretrain": trainings(bundle)[-1], "sas": "train"}.items():
        if (bundle / "configs" / f"{overlay}.json").is_file():
            stacks[overlay] = (below, overlay)
    for name, files in stacks.items():
        parser = read_stack(bundle, files)
        targets = {value for _, key, value in walk(parser.config) if key == "_target_"}
        unknown = sorted(target for target in targets if locate(target) is None)
        if unknown:
            raise ValueError(f"{name}: cannot import {', '.join(unknown)}.")
        parser.parse()
        for item in list(parser.ref_resolver.items):
            try:
                parser.ref_resolver.get_resolved_content(item, instantiate=False, eval_expr=False)
            except ValueError as error:
                raise ValueError(f"{name}, {item}: {error}") from error
    return "; ".join(stacks)


def check_network(bundle: Path) -> str:
    """The network takes an image alone and gives a tensor, of the shape and type that metadata.json states."""
    verify_net_in_out(
        net_id="network_def",
        meta_file=str(bundle / "configs" / "metadata.json"),
        config_file=str(bundle / "configs" / "inference.json"),
        bundle_root=str(bundle),
        device="cpu",
    )
    return "x".join(str(side) for side in _get_fake_input_shape(read_stack(bundle, ("inference",))))


def check_torchscript(bundle: Path) -> str:
    """The network exports by `torch.jit.script`, and the reloaded module gives the same numbers at two sizes."""
    reason = next((why for name, why in TORCHSCRIPT_EXEMPTIONS.items() if fnmatch(bundle.name, name)), None)
    exported = bundle.parent.parent / "exported.ts"
    try:
        ckpt_export(
            net_id="network_def",
            filepath=str(exported),
            ckpt_file=str(bundle / WEIGHTS),
            meta_file=str(bundle / "configs" / "metadata.json"),
            config_file=str(bundle / "configs" / "inference.json"),
            bundle_root=str(bundle),
        )
        scripted = torch.jit.load(exported).eval()
    except Exception as error:
        if reason:
            raise ExemptError(reason) from error
        raise
    finally:
        exported.unlink(missing_ok=True)
    if reason:
        raise ValueError(f"is exempted ('{reason}') but exports: take it off TORCHSCRIPT_EXEMPTIONS.")

    parser = read_stack(bundle, ("inference",))
    network = parser.get_parsed_content("network_def").eval()
    network.load_state_dict(torch.load(bundle / WEIGHTS, map_location="cpu", weights_only=True))
    batch, channels, *size = _get_fake_input_shape(parser)
    for scale in (1, 2):
        scaled = tuple(side * scale for side in size)
        image, more = torch.rand(batch, channels, *scaled), forward_arguments(network, batch, scaled)
        with torch.no_grad():
            torch.testing.assert_close(scripted(image, **more), network(image, **more), rtol=1e-4, atol=1e-5)
    return "equal numbers after reload"


def check_load(bundle: Path) -> str:
    """`monai.bundle.load` from another folder gives a network whose weights are the checkpoint's, every one.

    It takes the workflow types "train" and "inference" only, so the trainings of latent diffusion are not for it.
    """
    weights = torch.load(bundle / WEIGHTS, map_location="cpu", weights_only=True)
    with working_in(bundle.parent.parent / "elsewhere"):
        for workflow_type in {"train", "inference"} & workflows(bundle).keys():
            network = load(bundle.name, bundle_dir=bundle.parent, workflow_type=workflow_type, device="cpu")
            assert isinstance(network, nn.Module), "load gives a network"
            loaded = network.state_dict()
            different = sorted(loaded.keys() ^ weights.keys())
            different += [key for key in loaded.keys() & weights.keys() if not torch.equal(loaded[key], weights[key])]
            if different:
                raise ValueError(f"{workflow_type}: {len(different)} entries differ, first {different[0]}.")
    return f"{len(weights)} tensors equal"


def check_bundle_root(bundle: Path) -> str:
    """`bundle_root` is the bundle itself from the root and from inside, and never another bundle's folder."""
    other = bundle.with_name(f"not_{bundle.name}")
    metadata = read_config(bundle, "metadata")
    shutil.copytree(bundle / "configs", other / "configs")
    (other / "configs" / "metadata.json").write_text(json.dumps({**metadata, "name": other.name}), encoding="utf-8")
    try:
        for folder, mine in ((bundle.parent.parent, True), (bundle, True), (other, False)):
            with working_in(folder):
                for name in (*trainings(bundle), "inference"):
                    parser = ConfigParser()
                    parser.read_config(str(bundle / "configs" / f"{name}.json"))
                    found = Path(str(parser.get_parsed_content("bundle_root"))).resolve()
                    if mine and found != bundle:
                        raise ValueError(f"{name}.json: bundle_root is '{found}', expected '{bundle}'.")
                    if not mine and found == other:
                        raise ValueError(f"{name}.json takes another bundle's folder for its own bundle_root.")
    finally:
        shutil.rmtree(other)
    return ""


LIVE_CHECKS: dict[str, Callable[[Path], str]] = {
    "metadata": check_metadata,
    "keys": check_keys,
    "references": check_references,
    "network": check_network,
    "torchscript": check_torchscript,
    "load": check_load,
    "bundle_root": check_bundle_root,
}


def live_checks(bundle: Path) -> dict[str, Callable[[Path], str]]:
    """The checks that build or run a bundle, in the order they are made."""
    runs = {
        f"{workflow}, {place}": partial(check_run, workflow=workflow, place=place)
        for place in PLACES
        for workflow in workflows(bundle)
    }
    return LIVE_CHECKS | runs

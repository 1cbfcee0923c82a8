"""What gives weights their meaning, kept beside them in ``network.json``: the network and its settings."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import ignite.distributed as idist
import torch
from torch import nn

from .bundle import find_config
from .files import atomic_write, each_path, user_path
from .network_config import SEP, Difference, build_like, config_of, differences, without_settings
from .weights import beside, unwrap_model

RECORD = "network.json"
# settings that evaluation and inference take from the record and may change: the weights mean the same under any
CHANGEABLE = ("image_size", "degradation", "acceleration", "center_fraction", "target_scale", "class_names")
SHOWN = 3
_logger = logging.getLogger(__name__)


def make_record(network: nn.Module, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The record of a network and the settings it learns under.

    Args:
        network: the network, wrapped or not.
        settings: settings by name, as a bundle's ``network_settings`` has them.

    Returns:
        The record, of plain values.
    """
    from .. import __version__

    return {"flemme_monai": __version__, "network": config_of(unwrap_model(network)), "settings": config_of(settings)}


def write_record(folder: str | os.PathLike, record: Mapping[str, Any]) -> None:
    """Write ``network.json`` into a folder in one step."""
    with atomic_write(Path(folder) / RECORD) as part:
        part.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def record_path(weights: str | os.PathLike) -> Path:
    """Where the record of a file of weights lies."""
    return beside(weights, RECORD)


def read_record(weights: str | os.PathLike) -> dict[str, Any] | None:
    """The record beside a file of weights, None where there is none.

    Args:
        weights: the file, such as ``model.pt``.

    Raises:
        ValueError: If ``network.json`` is damaged, or holds what training does not write there.
    """
    path = record_path(weights)
    if not path.is_file():
        return None
    try:
        record = json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is no JSON ({error}): {_mend(path)}") from error
    return checked_record(record, path)


def checked_record(record: Any, path: str | os.PathLike) -> dict[str, Any]:
    """A record that has its parts and holds values only: an expression or a reference would be a program.

    Raises:
        ValueError: If it is another.
    """
    parts = record if isinstance(record, dict) else {}
    if not (isinstance(parts.get("network"), dict) and isinstance(parts.get("settings"), dict)):
        raise ValueError(
            f"{path} holds other keys; expected 'network' and 'settings', as training writes them: {_mend(path)}"
        )
    component = next((name for name, value in parts["settings"].items() if not _is_plain(value)), None)
    if component is not None:
        raise ValueError(
            f"{path} holds no plain value of {component!r}, expected a number, a word or a list: {_mend(path)}"
        )
    program = next((text for text in _texts(record) if text[:1] in ("$", "@", "%")), None)
    if program is not None:
        raise ValueError(f"{path} holds the expression {program!r}, expected values only: {_mend(path)}")
    return record


def _mend(path: str | os.PathLike) -> str:
    return f"take the {Path(path).name} of the run that wrote these weights, or remove it and give its settings again"


def _is_plain(value: Any) -> bool:
    return all(_is_plain(entry) for entry in value) if isinstance(value, list) else not isinstance(value, dict)


def _texts(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [text for key, entry in value.items() for text in (key, *_texts(entry))]
    if isinstance(value, list):
        return [text for entry in value for text in _texts(entry)]
    return [value] if isinstance(value, str) else []


def trained_settings(weights: str | os.PathLike | Sequence[str] | None) -> dict[str, Any]:
    """The settings that some weights were trained with, which a config takes where the user sets none.

    Args:
        weights: the file, such as ``model.pt``; of several the first; None for none.

    Returns:
        Settings by name; none where no record lies beside the weights.
    """
    record = None if weights is None else read_record(each_path(weights)[0])
    return {} if record is None else record["settings"]


def check_trained(weights: str | os.PathLike | Sequence[str], settings: Mapping[str, Any]) -> None:
    """Refuse settings under which the weights mean nothing.

    Args:
        weights: the file, such as ``model.pt``, or several.
        settings: this run's settings by name.

    Raises:
        ValueError: If one differs from the record beside the weights; names all that differ.
    """
    for path in each_path(weights):
        _refuse(_line(_settings_differ(settings, trained_settings(path)), record_path(path)))


def check_record(
    record: Mapping[str, Any] | None,
    path: str | os.PathLike,
    network: nn.Module,
    settings: Mapping[str, Any] | None,
) -> None:
    """Compare a record with a network and its settings before weights are loaded.

    Args:
        record: what the weights were trained as; None where that is not known, which is logged.
        path: where it was read.
        network: the network that takes the weights, wrapped or not.
        settings: this run's settings by name; None compares the network alone.

    Raises:
        ValueError: If they differ; names all that differ.
    """
    if record is None:
        _say("no record in %s: network and settings are as this config says", path)
        return
    _refuse(contradictions(record, path, network, settings or {}, "network_def"))
    unknown = dict.fromkeys(without_settings(config_of(unwrap_model(network))))
    if unknown:
        _say("%s keeps no settings of %s: give them as in training", path, ", ".join(unknown))


def contradictions(
    record: Mapping[str, Any], path: str | os.PathLike, network: nn.Module, settings: Mapping[str, Any], name: str
) -> str:
    """What differs between a record and a network and its settings, in one line; empty where nothing does.

    Args:
        record, path, network, settings: as for :func:`check_record`.
        name: the network's key in the config.
    """
    found = _settings_differ(settings, record["settings"])
    return _line(found + differences(config_of(unwrap_model(network)), record["network"], name), path)


def trained_network(
    network: nn.Module,
    weights: str | os.PathLike,
    bundle_root: str | os.PathLike | None = None,
    name: str = "network_def",
    settings: Mapping[str, Any] | None = None,
) -> nn.Module:
    """The network that some weights were trained in: the config's own, or the recorded one where that is another.

    Args:
        network: the network of the config.
        weights: the file, such as ``model.pt``.
        bundle_root: folder of the bundle, whose ``configs/inference.json`` says what the user has set; None takes all
            that differs from the record.
        name: the network's key in the config.
        settings: settings by name that must be the recorded ones, where nothing has compared them before.

    Returns:
        The network, without the weights.

    Raises:
        ValueError: If the user has set what contradicts the record, or the recorded network is not of this package.
    """
    if not isinstance(weights, str | os.PathLike):
        raise ValueError(
            f"ckpt_dir names {len(weights)} folders; expected one: only of segmentations are several networks averaged"
        )
    record, path = read_record(weights), record_path(weights)
    if record is None:
        return network
    _refuse(_line(_settings_differ(settings or {}, record["settings"]), path))
    here, there = config_of(unwrap_model(network)), record["network"]
    found = differences(here, there, name)
    if not found:
        return network
    default = None if bundle_root is None else _default(user_path(bundle_root), name, record["settings"])
    changed = [] if default is None else differences(here, default, name)
    _refuse(_line([one for one in found if any(_within(one.name, other.name) for other in changed)], path))
    try:
        built = build_like(unwrap_model(network), there)
    except ValueError as error:
        raise ValueError(f"{_line(found, path)}: {error}; {_mend(path)}") from error
    _say("network of %s: %s", path, "; ".join(f"{one.name} {one.there!r}" for one in found))
    return built


def _default(bundle_root: Path, name: str, settings: Mapping[str, Any]) -> Any:
    """The config of the network as the bundle's files and the recorded settings make it; None without the files."""
    from monai.bundle import ConfigParser

    file = find_config(bundle_root / "configs", "inference")
    if file is None:
        return None
    parser = ConfigParser()
    parser.read_config(str(file))
    known = parser.get("network_settings", {})
    parser.update({key: value for key, value in settings.items() if key in known})
    with torch.random.fork_rng(devices=[]):
        return config_of(parser.get_parsed_content(name))


def _within(name: str, other: str) -> bool:
    """Whether one key is the other, or lies inside it."""
    name, other = (f"{key}{SEP}".replace(f"{SEP}_target_{SEP}", SEP) for key in (name, other))
    return name.startswith(other) or other.startswith(name)


def _settings_differ(here: Mapping[str, Any], there: Mapping[str, Any]) -> list[Difference]:
    names = [name for name in here if name in there and name not in CHANGEABLE]
    return [found for name in names for found in differences(config_of(here[name]), there[name], name)]


def _line(found: list[Difference], path: str | os.PathLike) -> str:
    places = [f"in {path}", *["there"] * (SHOWN - 1)]
    shown = [f"{one.name} is {one.here!r} here and {one.there!r} {place}" for one, place in zip(found, places)]
    return "; ".join(shown) + (f" and {len(found) - SHOWN} more" if len(found) > SHOWN else "")


def _refuse(line: str) -> None:
    if line:
        raise ValueError(f"{line}: set it as there or leave it out, or name the folder of other weights")


def _say(message: str, *values: Any) -> None:
    if idist.get_rank() == 0:
        _logger.info(message, *values)

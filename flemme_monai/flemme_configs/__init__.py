"""Configs of Flemme, read for what they are here: a pair and its settings."""

from __future__ import annotations

import os
from typing import Any

from ..registry import ARCHITECTURES
from ..utils import user_path
from .data import read_loaders, segments
from .entries import Conversion, Entries
from .model import read_model
from .training import read_training

__all__ = ["Conversion", "convert", "read_config"]


def read_config(path: str | os.PathLike) -> dict[str, Any]:
    """The content of a YAML file, of which nothing is run.

    Args:
        path: of the file.

    Raises:
        FileNotFoundError: If there is none.
        ValueError: If it is no YAML of keys and values.
    """
    import yaml

    path = user_path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; expected a config of Flemme")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: is not YAML ({' '.join(str(error).split())}); mend the file") from None
    if not isinstance(content, dict) or not isinstance(content.get("model"), dict):
        raise ValueError(f"{path}: has no section 'model'; expected a config of Flemme's training")
    return content


def convert(config: dict[str, Any]) -> Conversion:
    """What a config of Flemme's training is here.

    Args:
        config: its content.

    Returns:
        The pair and its settings, what is done otherwise, and what has no counterpart.

    Raises:
        ValueError: If the model is none of images, or a section is malformed.
    """
    conversion = Conversion()
    top = Entries(config, "", conversion)
    model = top.section("model")
    assert model is not None, "see read_config"
    read_model(model, segments(config))
    task = ARCHITECTURES[conversion.pair.partition("_")[0]].task
    read_loaders(top, task)
    read_training(top, task)
    top.close()
    return conversion

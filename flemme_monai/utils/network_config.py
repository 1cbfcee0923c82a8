"""The config of a network, read off the network itself, and the network that a config describes."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from pydoc import locate
from typing import Any, NamedTuple

import torch
from torch import nn

_OWN = re.compile(r"flemme_monai\.(architectures|backbones)(\.[A-Za-z]\w*){1,3}")
SPEED = ("checkpointing", "channels_last")  # arguments that change no value of an output
INITIAL = (
    "encoder_weights",
    "weights",
)  # arguments that say where training begins, which trained weights have no use for
SEP = "#"  # between the levels of a config, as on the command line


class ConfiguredModule(nn.Module):
    """A network that keeps the arguments it was built with, those left to their defaults included.

    What says where its training begins is not kept: the network of a record takes trained weights, and must not need
    the file that they began with.
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "__init__" in cls.__dict__:
            cls.__init__ = _keeping_config(cls.__init__)  # type: ignore[method-assign]  # wrapped: keeps arguments

    def resolve_config(self, **arguments: Any) -> None:
        """Keep what arguments that were left open, as None, have become.

        Args:
            arguments: values by name; one that the network's class does not take is left out.
        """
        config: dict[str, Any] = self.__dict__["_config"]
        config.update({name: config_of(value) for name, value in arguments.items() if config.get(name, "") is None})


def _keeping_config(init: Callable[..., None]) -> Callable[..., None]:
    signature = inspect.signature(init)

    @functools.wraps(init)
    def wrapped(self: ConfiguredModule, *args: Any, **kwargs: Any) -> None:
        if "_config" not in self.__dict__:  # a subclass's own arguments, not those it gives to its base
            try:
                bound = signature.bind(self, *args, **kwargs)
            except TypeError:  # init itself says it better
                return init(self, *args, **kwargs)
            bound.apply_defaults()
            given = list(bound.arguments.items())[1:]
            arguments = {name: config_of(value) for name, value in given if name not in INITIAL}
            self.__dict__["_config"] = {"_target_": class_path(type(self)), **arguments}
        return init(self, *args, **kwargs)

    return wrapped


def class_path(cls: type) -> str:
    """The dotted path of a class, that of its package where that offers it: ``flemme_monai.backbones.UNet``."""
    package = cls.__module__.rpartition(".")[0]
    offered = getattr(sys.modules.get(package), cls.__qualname__, None) is cls
    return f"{package if offered else cls.__module__}.{cls.__qualname__}"


def current_path(target: Any) -> Any:
    """The dotted path that a ``_target_`` has in this version, where it names one of this package by a former name."""
    found = locate(target) if is_own(target) else None
    return class_path(found) if isinstance(found, type) else target


def config_of(value: Any) -> Any:
    """A network or a setting as a config of plain values: numbers, strings, lists and dictionaries.

    Args:
        value: a network, an object of settings such as a block family, or a value that JSON can hold. Of any other
            object the config has the class alone.

    Returns:
        The config, with ``_target_`` as the configs of bundles have it.
    """
    if isinstance(value, ConfiguredModule):
        return value._config
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: config_of(getattr(value, field.name)) for field in dataclasses.fields(value)}
        return {"_target_": class_path(type(value)), **fields}
    if isinstance(value, Mapping):
        return {str(key): config_of(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [config_of(entry) for entry in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return {"_target_": class_path(type(value))}


def build_network(config: Any) -> Any:
    """The network that a config describes; only classes of this package's architectures and backbones are built.

    Args:
        config: as :func:`config_of` gives it.

    Returns:
        The network, with weights of its own.

    Raises:
        ValueError: If the config names another class, or arguments that a class does not take.
    """
    if isinstance(config, list):
        return [build_network(entry) for entry in config]
    if not isinstance(config, dict):
        return config
    arguments = {name: build_network(value) for name, value in config.items() if name != "_target_"}
    if "_target_" not in config:
        return arguments
    target = config["_target_"]
    found = locate(target) if is_own(target) else None
    if not isinstance(found, type):
        raise ValueError(
            f"_target_ is {target!r}; expected a network of flemme_monai, for no other is built from a record"
        )
    try:
        return found(**arguments)
    except (TypeError, AttributeError) as error:
        raise ValueError(f"{target} cannot be built: {error}") from error


def is_own(target: Any) -> bool:
    """Whether a ``_target_`` is one of this package's networks, or the settings of one."""
    found = locate(target) if isinstance(target, str) and _OWN.fullmatch(target) else None
    if not isinstance(found, type) or not _OWN.fullmatch(f"{found.__module__}.{found.__qualname__}"):
        return False
    return issubclass(found, ConfiguredModule) or dataclasses.is_dataclass(found)


def without_settings(config: Any) -> Iterator[str]:
    """The classes in a config whose arguments are not known, since they are no :class:`ConfiguredModule`."""
    if isinstance(config, dict) and config.keys() == {"_target_"}:
        yield config["_target_"]
    for value in config.values() if isinstance(config, dict) else config if isinstance(config, list) else ():
        yield from without_settings(value)


class Difference(NamedTuple):
    """A setting with one value here and another in a record."""

    name: str
    here: Any
    there: Any


def differences(here: Any, there: Any, name: str) -> list[Difference]:
    """The settings that differ between two configs of networks, beside those that only make them faster.

    An argument that ``there`` does not have yet, since an earlier version wrote it, is no difference.

    Args:
        here: config of the network of this run.
        there: config of the network that was recorded.
        name: the key under which both stand, such as ``network_def``.

    Returns:
        A difference for each value, named as on the command line: ``network_def#backbone#channels``.
    """
    if not (isinstance(here, dict) and isinstance(there, dict)):
        return [] if here == there else [Difference(name, here, there)]
    if current_path(here.get("_target_")) != current_path(there.get("_target_")):
        return [Difference(f"{name}{SEP}_target_", here.get("_target_"), there.get("_target_"))]
    found = []
    for key in there:
        if key not in (*SPEED, "_target_"):
            found += differences(here.get(key), there[key], f"{name}{SEP}{key}")
    return found


def overlaid(here: Any, there: Any) -> Any:
    """The config ``there``, with what it leaves open or what only makes a network faster as ``here``."""
    if not (isinstance(here, dict) and isinstance(there, dict)):
        return there
    if current_path(here.get("_target_")) != current_path(there.get("_target_")):
        return there
    merged = {key: overlaid(here.get(key), value) for key, value in there.items()}
    return {**here, **merged, **{key: here[key] for key in SPEED if key in here}}


def build_like(network: nn.Module, config: dict[str, Any]) -> nn.Module:
    """The network that a config describes, as fast as another one; the random state stays as it is."""
    with torch.random.fork_rng(devices=[]):
        return build_network(overlaid(config_of(network), config)).train(network.training)

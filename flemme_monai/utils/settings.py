"""Check what a command line sets, and read its words."""

from __future__ import annotations

import ast
import functools
import inspect
import logging
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from pydoc import locate
from typing import TYPE_CHECKING, Any

import ignite.distributed as idist
from monai.utils import ensure_tuple

from .bundle import find_config
from .command_line import overrides
from .errors import did_you_mean, on_command_line, unknown_setting
from .network_config import SEP

if TYPE_CHECKING:
    from monai.bundle import ConfigParser

PER_AXIS = ("upscale",)  # settings that are one number or one per axis
_logger = logging.getLogger(__name__)
_WORKFLOWS = ("train", "train_autoencoder", "train_diffusion", "inference")
# of the weights' record, or what is set under a former name, else a default
_DEFAULT = re.compile(r"\$(?:@trained\.get\('\w+'|flemme_monai\.utils\.renamed_setting\('\w+', @\w+), (.*)\)")
FORMER_NAMES = {"guidance_scale": "guidance", "s_churn": "churn", "interpolate_between": "between"}


def as_bool(value: bool | str) -> bool:
    """A switch of the command line, on which ``true`` is a word.

    Args:
        value: true or false, as a value or as a word.

    Returns:
        The value.

    Raises:
        ValueError: If it is neither.
    """
    word = str(value).lower()
    if word not in ("true", "false"):
        raise ValueError(f"{value!r} is no switch; expected true or false")
    return word == "true"


def renamed_setting(name: str, former: Any, default: Any) -> Any:
    """A setting of ``FORMER_NAMES``; what is still set under its former name is taken, and that is logged.

    A config has both names, as ``"guidance": null`` and ``"guidance_scale":
    "$flemme_monai.utils.renamed_setting('guidance_scale', @guidance, 1.0)"``, so that older command lines, config files
    and programs mean what they meant.

    Args:
        name: the setting's name.
        former: its value under the former name; None: not set.
        default: its default.

    Returns:
        The former name's value where there is one, else the default.
    """
    if former is None:
        return default
    if idist.get_rank() == 0:
        _logger.warning("%s is now called %s: %r is taken", FORMER_NAMES[name], name, former)
    return former


def former_arguments(**names: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """A decorator of ``__init__``: arguments are taken under former names too, and that is logged.

    An argument that is given under both names is refused.

    Args:
        names: an argument's name by its former one.
    """

    def decorate(init: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(init)
        def wrapped(self: object, *args: Any, **kwargs: Any) -> None:
            for former, name in names.items():
                if former not in kwargs:
                    continue
                if name in kwargs:
                    raise ValueError(two_names(former, name))
                _logger.warning("%s of %s is now called %s", former, type(self).__name__, name)
                kwargs[name] = kwargs.pop(former)
            init(self, *args, **kwargs)

        return wrapped

    return decorate


def two_names(former: str, name: str) -> str:
    """The message on a setting that is given under its former name too."""
    return f"{former} and {name} are one setting under two names; give {name} alone"


def check_settings() -> None:
    """Refuse what ``python -m monai.bundle run`` would take silently: an override of a setting that is not there.

    Raises:
        ValueError: If an override names no setting of the config files, or its value is of another kind.
    """
    if on_command_line():
        check_overrides(sys.argv[2:])


def check_overrides(arguments: Sequence[str]) -> None:
    """Compare the overrides on a command line with the settings of its config files.

    A setting of the bundle's other configs has no effect, which is logged, so that one list of settings serves
    training, evaluation and inference. One that a component of the config leaves to its class is compared with that; a
    list for a component's argument is left to the component, which may take one value or one per axis.

    Args:
        arguments: what follows ``python -m monai.bundle run``.

    Raises:
        ValueError: If an override names no setting, its value is of another kind, or a setting is given under its
            former name too.
    """
    from monai.bundle import ConfigParser, run

    given = overrides(arguments)
    if "args_file" in given:
        given = {**ConfigParser.load_config_file(given["args_file"]), **given}
    files = ensure_tuple(given.get("config_file", ()))
    parser = ConfigParser()
    parser.read_config(list(files))
    folder = Path(files[0]).parent
    others = [ConfigParser.load_config_file(path) for name in _WORKFLOWS if (path := find_config(folder, name))]
    for name, former in FORMER_NAMES.items():
        if name in given and former in given:
            raise ValueError(two_names(former, name))
    names = {former: name for name, former in FORMER_NAMES.items()}
    for name in [name for name in given if name not in inspect.signature(run).parameters]:
        if name in parser:
            argument = name in PER_AXIS or _is_argument(name, parser)
            _check_kind(name, given[name], default_of(parser[names.get(name, name)]), argument)
        elif any(name in other for other in others):
            _logger.info("%s has no effect in %s", name, Path(files[-1]).name)
        else:
            _check_component(name, given, parser)


def _check_component(name: str, given: Mapping[str, Any], parser: ConfigParser) -> None:
    """Compare an override of what the config files do not have with the classes of their components."""
    node: Any = parser.get()
    resolver = parser.ref_resolver
    levels = resolver.normalize_id(name).split(resolver.sep)
    replaced = {resolver.normalize_id(key): value for key, value in given.items()}
    for depth, level in enumerate(levels):
        place = SEP.join(levels[:depth])
        named: dict[Any, Any] = dict(enumerate(node)) if isinstance(node, list) else node
        children = {str(key): child for key, child in named.items()} if isinstance(named, dict) else {}
        if level not in children:
            if "_target_" in children:
                target = replaced.get(resolver.sep.join([*levels[:depth], "_target_"]), children["_target_"])
                return _check_argument(SEP.join(levels), given[name], target, depth)
            inside = f" in {place}" if depth else ""
            siblings = [key for key in children if not key.startswith("_") and key not in FORMER_NAMES.values()]
            raise ValueError(f"there is no setting {level!r}{inside}; {did_you_mean(level, siblings)}")
        node = children[level]


def component_parameters(target: Any) -> Mapping[str, inspect.Parameter] | None:
    """The arguments of the class or function of a dotted path; None where there is none, or it does not say."""
    component = locate(target) if isinstance(target, str) else None
    if not callable(component):
        return None
    try:
        return inspect.signature(component).parameters
    except ValueError:  # built in without a signature
        return None


def _check_argument(name: str, value: Any, target: Any, depth: int) -> None:
    """Compare an override with the signature of the component that takes it.

    Args:
        name: of the setting.
        value: of the setting.
        target: path of the component's class or function.
        depth: levels of the name that lead to the component; the next one is its argument.
    """
    levels = name.split(SEP)
    argument = levels[depth]
    if argument.startswith("_"):  # MONAI's own, such as _disabled_
        return
    parameters = component_parameters(target)
    if parameters is None:
        return
    known = {p.name: p for p in parameters.values() if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)}
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    if argument not in known and not takes_any:
        raise ValueError(unknown_setting(target, argument, list(known)))
    if len(levels) > depth + 1:
        whole = SEP.join(levels[: depth + 1])
        raise ValueError(f"{name}: {whole} is not in the config, so that no part of it can be set; set {whole} itself")
    if argument in known:
        _check_kind(name, value, _typical(known[argument]), argument=True)


def _typical(parameter: inspect.Parameter) -> Any:
    """A value of the kind that a parameter takes: its default, unless its annotation takes other kinds too; or None."""
    default, kinds = parameter.default, set(re.findall(r"\w+", str(parameter.annotation)))
    if not isinstance(default, int | float) or "str" in kinds:
        return None
    if isinstance(default, bool):
        return None if kinds & {"int", "float"} else default
    return default if "int" in kinds and "float" not in kinds else float(default)


def _is_argument(name: str, parser: ConfigParser) -> bool:
    """Whether a setting is an argument of a component."""
    parent, _ = parser.ref_resolver.split_id(name, last=True)
    return bool(parent) and isinstance(parser[parent], dict) and "_target_" in parser[parent]


def default_of(value: Any) -> Any:
    """The default of a setting, also where the config takes it from the weights' record or a former name first.

    Args:
        value: the setting as it stands in a config, such as ``"$@trained.get('num_classes', 4)"``.

    Returns:
        The default, such as 4.
    """
    found = _DEFAULT.fullmatch(value) if isinstance(value, str) else None
    return value if found is None else ast.literal_eval(found[1])


def _check_kind(name: str, value: Any, default: Any, argument: bool) -> None:
    """Compare a value with the default it replaces; expressions and references may stand for anything.

    A component gets its arguments as they are: the word ``false`` would be a true string to it, and a list may be what
    it takes in the place of one number.
    """
    if isinstance(value, str) and value[:1] in ("$", "@", "%"):
        return
    if argument and isinstance(default, bool):
        if not isinstance(value, bool):
            raise ValueError(f"{name} is {value!r}; expected True or False")
        return
    if argument and isinstance(value, list | tuple):
        return
    if isinstance(default, bool):
        fits, expected = str(value).lower() in ("true", "false"), "true or false"
    elif isinstance(default, int):
        fits, expected = isinstance(value, int) and not isinstance(value, bool), "a whole number"
    elif isinstance(default, float):
        fits, expected = isinstance(value, int | float) and not isinstance(value, bool), "a number"
    else:
        return
    if not fits:
        raise ValueError(f"{name} is {value!r}; expected {expected}, such as {str(default).lower()}")

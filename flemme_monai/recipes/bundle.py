"""From a pair and settings to the files of a bundle."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from pydoc import locate
from typing import Any, cast

from ..registry import ARCHITECTURES, ENCODERS, NETWORKS, Encoder, Network, backbone, pairs
from .base import Config, Recipe, Workflow
from .dump import dump
from .metadata import DATA_TYPE, metadata
from .pages import filled_text, shipped_text, words_of
from .trained import TrainedBundle
from .trained_files import data_license, trained_metadata, trained_page

OF_A_RUN = ("seed", "amp", "device", "batch_size")  # settings that training and inference share and weights do not


def make_bundle(
    pair: str,
    name: str | None = None,
    settings: dict[str, Any] | None = None,
    of_workflows: dict[str, dict[str, Any]] | None = None,
) -> dict[str, str]:
    """The files of one bundle.

    Args:
        pair: ``<architecture>_<backbone>``, by their keys in the registry.
        name: the bundle's name; the pair's by default.
        settings: values of settings, keys written as on the command line of ``monai.bundle run``.
        of_workflows: values that one workflow alone has, by its name, such as those of an autoencoder's training.

    Returns:
        The text of each file by its path inside the bundle.

    Raises:
        ValueError: If there is no such pair or setting.
    """
    name = pair if name is None else name
    recipe, content = _settled(pair, name, settings or {}, of_workflows)
    return {**_files(recipe, content), "docs/README.md": _page(name, pair, recipe)}


def make_trained(bundle: TrainedBundle) -> dict[str, str]:
    """The files of a bundle with weights, but for the weights and pictures: its pair's, and what it says of itself."""
    recipe, content = _settled(bundle.pair, bundle.name, bundle.settings)
    content = trained_metadata(bundle, content)
    return {
        **_files(recipe, content),
        "docs/README.md": trained_page(bundle, recipe, content),
        "docs/data_license.txt": data_license(bundle),
    }


def _settled(
    pair: str, name: str, settings: dict[str, Any], of_workflows: dict[str, dict[str, Any]] | None = None
) -> tuple[Recipe, Config]:
    """A pair's recipe with these settings, and its ``metadata.json``."""
    from ..utils.errors import did_you_mean  # imports torch, as listing the pairs need not

    architecture, _, key = pair.partition("_")
    if pair not in pairs():
        partners = [known.partition("_")[2] for known in pairs() if known.startswith(f"{architecture}_")]
        served = partners and key in (*ENCODERS, *NETWORKS)  # each is known, and they do not go together
        hint = f"{architecture} takes {', '.join(partners)}" if served else did_you_mean(pair, list(pairs()))
        raise ValueError(f"there is no pair {pair!r}; {hint}")
    if not name.isidentifier():
        raise ValueError(f"name is {name!r}; expected letters, digits and underscores: give it by --name.")
    make = cast("Callable[[str, Encoder | Network], Recipe]", locate(ARCHITECTURES[architecture].recipe))
    row = backbone(key)
    recipe = make(name, row)
    if isinstance(row, Network):
        settings = {**row.settings, **settings}
    workflows = {workflow: content.copy() for workflow, content in recipe.workflows.items()}
    every = [(workflows, settings)]
    every += [({one: workflows[one]}, values) for one, values in (of_workflows or {}).items()]
    for parts, values in every:
        for setting, value in values.items():
            if not _set(parts, setting, value):
                raise ValueError(f"unknown setting {setting!r}; {_similar(parts, setting)}")
    content = metadata(name, pair, recipe, workflows["inference"].config())
    _keep_settings(workflows)
    return replace(recipe, workflows=workflows), content


def _files(recipe: Recipe, content: Config) -> dict[str, str]:
    """The files of every bundle but its page."""
    return {
        **{f"configs/{workflow}.json": dump(found.config()) for workflow, found in recipe.workflows.items()},
        "configs/metadata.json": dump(content),
        "configs/logging.conf": shipped_text("logging.conf"),
        "LICENSE": shipped_text("LICENSE"),
    }


def _set(workflows: dict[str, Workflow], setting: str, value: Any) -> bool:
    """Set a value (levels divided by ``#``) in each config that has it or whose component takes it; whether one did."""
    found = False
    *parents, last = setting.split("#")
    for workflow in workflows.values():
        for part in (workflow.settings, workflow.components, workflow.steps):
            node: Any = part
            for parent in parents:
                node = node.get(parent) if isinstance(node, dict) else None
            if isinstance(node, dict) and (last in node or _takes(node.get("_target_"), last)):
                node[last] = value
                found = True
    return found


def _takes(target: str | None, name: str) -> bool:
    """Whether the class or function of that path has an argument of that name."""
    from ..utils.settings import component_parameters

    return name in (component_parameters(target) or ())


def _similar(workflows: dict[str, Workflow], setting: str) -> str:
    """The message on a setting that is not there: the one most like it, beside the first level that is wrong."""
    from ..utils.errors import did_you_mean  # imports torch, as listing the pairs need not
    from ..utils.settings import component_parameters

    first = next(iter(workflows.values()))
    levels, depth = setting.split("#"), 0
    node: Any = first.config()
    while depth < len(levels) - 1 and isinstance(node.get(levels[depth]), dict):
        node, depth = node[levels[depth]], depth + 1
    if depth < len(levels) - 1:  # the wrong level has parts
        names = [name for name, value in node.items() if isinstance(value, dict)]
    else:
        names = [name for name in (node if depth else first.settings) if not name.startswith("_")]
        names += component_parameters(node.get("_target_")) or ()
    known = ["#".join([*levels[:depth], name]) for name in dict.fromkeys(names)]
    return did_you_mean("#".join(levels[: depth + 1]), known)


def _keep_settings(workflows: dict[str, Workflow]) -> None:
    """Name the settings that training keeps with the weights; evaluation and inference take them from there."""
    from ..utils.record import CHANGEABLE

    inference, evaluate = workflows["inference"], workflows["evaluate"]
    trainings = [workflow for name, workflow in workflows.items() if name.startswith("train")]
    both = trainings[-1].settings.keys() & inference.settings.keys()
    for workflow in (*trainings, inference):
        settings = workflow.settings
        shared = [name for name, value in settings.items() if name in both and _is_kept(name, value)]
        shared += [name for name in CHANGEABLE if name in settings and name in trainings[-1].settings]
        shared = list(dict.fromkeys(shared))
        workflow.components["network_settings"] = {name: _kept(name, settings[name]) for name in shared}
    for workflow, source in (inference, inference), (evaluate, trainings[-1]):
        for name in source.components["network_settings"]:
            workflow.settings[name] = f"$@trained.get({name!r}, {source.settings[name]!r})"


def _kept(name: str, value: Any) -> str:
    """A setting as it is kept; a switch, which the command line gives as a word, as true or false."""
    return f"$flemme_monai.utils.as_bool(@{name})" if isinstance(value, bool) else f"@{name}"


def _is_kept(name: str, value: Any) -> bool:
    """Whether a setting is a plain value that weights may depend on."""
    values = value if isinstance(value, list) else [value]
    plain = all(
        v is None or isinstance(v, int | float) or (isinstance(v, str) and v[:1] not in ("$", "@")) for v in values
    )
    return plain and name not in ("dataset_dir", "image_folders", "label_folder", "condition_table", *OF_A_RUN)


def _page(name: str, pair: str, recipe: Recipe) -> str:
    """The bundle's page."""
    return filled_text(f"readme_{recipe.readme}.md", {**words_of(name, pair, recipe), "data_type": DATA_TYPE})


def write(folder: Path, files: dict[str, str]) -> None:
    """Write a bundle's files, leaving its weights and outputs alone."""
    for path, text in files.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")


def differences(folder: Path, files: dict[str, str]) -> list[str]:
    """What in a bundle's folder is not as it is made; pictures come from runs."""
    found = [path for path, text in files.items() if not _same(folder / path, text)]
    extra = [
        p.relative_to(folder).as_posix()
        for part in ("configs", "docs")
        for p in (folder / part).rglob("*")
        if p.is_file() and p.suffix != ".png"
    ]
    return found + [path for path in extra if path not in files]


def _same(path: Path, text: str) -> bool:
    return path.is_file() and path.read_text(encoding="utf-8") == text

"""Short runs of a bundle's workflows, from the places where a user may start them."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser, ConfigWorkflow
from monai.bundle.scripts import _get_fake_input_shape
from monai.engines import SupervisedEvaluator, SupervisedTrainer
from monai.utils import set_determinism

from .bundle_files import workflows

PLACES = ("repository's root", "inside the bundle", "elsewhere")
SHORT_RUN = {"epochs": 1, "warmup_epochs": 1, "batch_size": 6, "num_workers": 0, "val_interval": 1}
SHORT_SAMPLING = {"num_samples": 2, "num_inference_steps": 2}
SHORT_SPLIT = {"train": range(12), "val": range(12, 16), "test": range(16, 20)}
SHORT_SIDE = 32


def read_stack(bundle: Path, names: Sequence[str]) -> ConfigParser:
    """A parser of some of a bundle's configs laid over each other, with its metadata and its root set."""
    parser = ConfigParser()
    parser.read_config([str(bundle / "configs" / f"{name}.json") for name in names])
    parser.read_meta(str(bundle / "configs" / "metadata.json"))
    parser["bundle_root"] = str(bundle)
    return parser


def check_run(bundle: Path, workflow: str, place: str) -> str:
    """A workflow initializes, has all properties and runs shortly from a place, writing nowhere but in the bundle."""
    names = workflows(bundle)[workflow]
    repository = bundle.parent.parent
    folder, configs, override = {
        PLACES[0]: (repository, Path("bundles", bundle.name, "configs"), {}),
        PLACES[1]: (bundle, Path("configs"), {}),
        PLACES[2]: (repository / "elsewhere", bundle / "configs", {"bundle_root": str(bundle)}),
    }[place]
    before = {path for path in repository.rglob("*") if not path.is_relative_to(bundle)}
    with working_in(folder):
        before.add(folder)
        files = [str(configs / f"{name}.json") for name in names]
        run_short(bundle, files, override, ask_first=place == PLACES[0])
    written = {path for path in repository.rglob("*") if not path.is_relative_to(bundle)} - before
    if written:
        raise ValueError(f"wrote outside its bundle_root: {', '.join(sorted(p.name for p in written))}.")
    return ""


def run_short(
    bundle: Path, config_files: list[str], override: dict[str, Any], ask_first: bool = False
) -> ConfigWorkflow:
    """Run a workflow on few, small phantoms for one epoch, or to few samples of few steps.

    Args:
        bundle: the bundle's folder, which is written to.
        config_files: the stack of configs.
        override: settings, over those that make the run short.
        ask_first: ask for the properties before the run, as the zoo does; a run may not depend on either order.

    Returns:
        The finished workflow.
    """
    parser = ConfigParser()
    parser.read_config(config_files)
    split = {part: [f"phantom_{index:03d}" for index in indices] for part, indices in SHORT_SPLIT.items()}
    split_file = bundle / "short_split.json"
    split_file.write_text(json.dumps(split), encoding="utf-8")
    short = {**SHORT_RUN, **SHORT_SAMPLING, "image_size": short_size(bundle), "split_file": str(split_file)}
    override = {**{key: value for key, value in short.items() if key in parser}, **override}
    last = Path(config_files[-1]).stem
    workflow_type = "infer" if last == "inference" else "train"
    workflow = ConfigWorkflow(config_file=config_files, workflow_type=workflow_type, **override)
    workflow.initialize()
    engines = {"trainer": SupervisedTrainer} if last.startswith("train") else {}
    for name, kind in {**engines, "evaluator": SupervisedEvaluator}.items():
        if not isinstance(getattr(workflow, name), kind):
            raise ValueError(f"the {name} is a {type(getattr(workflow, name)).__name__}, expected a {kind.__name__}.")
    if ask_first:
        _ask_for_properties(workflow)
    workflow.run()
    _ask_for_properties(workflow)
    workflow.finalize()
    return workflow


def _ask_for_properties(workflow: ConfigWorkflow) -> None:
    """Build all that a client may ask for, also what a run has no use for, such as an evaluation's trainer."""
    missing = workflow.check_properties()
    if missing:
        raise ValueError(f"missing properties: {', '.join(missing)}.")


def short_size(bundle: Path) -> list[int]:
    """The smallest spatial size metadata.json allows that has at least 32 pixels a side."""
    size = _get_fake_input_shape(read_stack(bundle, ("inference",)))[2:]
    return [side * max(1, -(-SHORT_SIDE // side)) for side in size]


@contextmanager
def working_in(folder: Path) -> Iterator[None]:
    """Make a folder the working directory for a while; `sys.path` and the random state are put back after."""
    folder.mkdir(parents=True, exist_ok=True)
    before, paths = Path.cwd(), list(sys.path)
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)
        sys.path[:] = paths
        set_determinism(None)


@contextmanager
def silenced() -> Iterator[None]:
    """Send all that is written to stdout and stderr nowhere, also from other threads and from C."""
    sys.stdout.flush()
    sys.stderr.flush()
    kept = [os.dup(1), os.dup(2)]
    with open(os.devnull, "wb") as sink:
        os.dup2(sink.fileno(), 1)
        os.dup2(sink.fileno(), 2)
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for number, copy in enumerate(kept, start=1):
            os.dup2(copy, number)
            os.close(copy)

"""What a bundle must do, found out by building and running it: the live half of `check_bundle.py`.

Each check takes the folder of a temporary copy of a bundle, returns a remark or "", and raises what went wrong.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from fnmatch import fnmatch
from functools import partial
from pathlib import Path
from pydoc import locate
from typing import Any

import torch
from bundle_files import WEIGHTS, has_weights, read_config, walk
from monai.bundle import ConfigParser, ConfigWorkflow, ckpt_export, load, verify_metadata, verify_net_in_out
from monai.bundle.scripts import _get_fake_input_shape
from monai.engines import SupervisedEvaluator, SupervisedTrainer
from monai.utils import set_determinism

SCHEMAS = Path(__file__).resolve().parent / "schema"
NEWEST_NUMPY = (2, 2, 6)  # the newest for Python 3.10, on which the zoo installs the pinned versions

# bundle name pattern -> why its network cannot be scripted
TORCHSCRIPT_EXEMPTIONS: dict[str, str] = {}

WORKFLOWS = {
    "train": (("train",), "train"),
    "evaluate": (("train", "evaluate"), "train"),
    "inference": (("inference",), "infer"),
}
OVERLAYS = {**{name: files for name, (files, _) in WORKFLOWS.items()}, "multi-GPU": ("train", "multi_gpu_train")}
PLACES = ("repository's root", "inside the bundle", "elsewhere")
SHORT_RUN = {"epochs": 1, "batch_size": 16, "num_workers": 0, "val_interval": 1}
SHORT_SIDE = 32

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
        if not has_weights(copy):
            (copy / WEIGHTS).parent.mkdir(exist_ok=True)
            with silenced():
                network = read_stack(copy, ("inference",)).get_parsed_content("network_def")
            torch.save(network.state_dict(), copy / WEIGHTS)
        yield copy


def read_stack(bundle: Path, names: Sequence[str]) -> ConfigParser:
    """A parser of some of a bundle's configs laid over each other, with its metadata and its root set."""
    parser = ConfigParser()
    parser.read_config([str(bundle / "configs" / f"{name}.json") for name in names])
    parser.read_meta(str(bundle / "configs" / "metadata.json"))
    parser["bundle_root"] = str(bundle)
    return parser


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
    for name, keys in (("train", [*TRAIN_KEYS, *SETTINGS]), ("inference", INFERENCE_KEYS)):
        parser = read_stack(bundle, (name,))
        missing += [f"{name}.json: {key}" for key in dict.fromkeys(keys) if key not in parser]
        if not any(key in parser for key in OUTPUTS):
            missing.append(f"{name}.json: {' or '.join(OUTPUTS)}")
    if missing:
        raise ValueError(f"missing {', '.join(missing)}.")
    return ""


def check_references(bundle: Path) -> str:
    """Every `_target_` can be imported and every `@id` of each stack of configs is defined; nothing is built."""
    for name, files in OVERLAYS.items():
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
    return ", ".join(OVERLAYS)


def check_network(bundle: Path) -> str:
    """The network takes one tensor and gives one, of the shape and type that metadata.json states."""
    verify_net_in_out(
        net_id="network_def",
        meta_file=str(bundle / "configs" / "metadata.json"),
        config_file=str(bundle / "configs" / "inference.json"),
        bundle_root=str(bundle),
        device="cpu",
    )
    return "x".join(str(size) for size in _get_fake_input_shape(read_stack(bundle, ("inference",))))


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
        image = torch.rand(batch, channels, *(side * scale for side in size))
        with torch.no_grad():
            torch.testing.assert_close(scripted(image), network(image), rtol=1e-4, atol=1e-5)
    return "equal numbers after reload"


def check_load(bundle: Path) -> str:
    """`monai.bundle.load` from another folder gives a network whose weights are the checkpoint's, every one."""
    weights = torch.load(bundle / WEIGHTS, map_location="cpu", weights_only=True)
    with working_in(bundle.parent.parent / "elsewhere"):
        for workflow_type in ("train", "inference"):
            network = load(bundle.name, bundle_dir=bundle.parent, workflow_type=workflow_type, device="cpu")
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
    (other / "configs" / "metadata.json").write_text(json.dumps({**metadata, "name": other.name}))
    try:
        for folder, mine in ((bundle.parent.parent, True), (bundle, True), (other, False)):
            with working_in(folder):
                for name in ("train", "inference"):
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


def check_run(bundle: Path, workflow: str, place: str) -> str:
    """A workflow initializes, has all properties and runs shortly from a place, writing nowhere but in the bundle."""
    names, workflow_type = WORKFLOWS[workflow]
    repository = bundle.parent.parent
    folder, configs, override = {
        PLACES[0]: (repository, Path("bundles", bundle.name, "configs"), {}),
        PLACES[1]: (bundle, Path("configs"), {}),
        PLACES[2]: (repository / "elsewhere", bundle / "configs", {"bundle_root": str(bundle)}),
    }[place]
    before = {path for path in repository.rglob("*") if not path.is_relative_to(bundle)}
    with working_in(folder):
        before.add(folder)
        run_short(bundle, [str(configs / f"{name}.json") for name in names], workflow_type, override)
    written = {path for path in repository.rglob("*") if not path.is_relative_to(bundle)} - before
    if written:
        raise ValueError(f"wrote outside its bundle_root: {', '.join(sorted(p.name for p in written))}.")
    return ""


def run_short(bundle: Path, config_files: list[str], workflow_type: str, override: dict[str, Any]) -> ConfigWorkflow:
    """Run a workflow on few, small phantoms for one epoch.

    Returns:
        The finished workflow.
    """
    parser = ConfigParser()
    parser.read_config(config_files)
    short = {**SHORT_RUN, "image_size": short_size(bundle)}
    override = {**{key: value for key, value in short.items() if key in parser}, **override}
    workflow = ConfigWorkflow(config_file=config_files, workflow_type=workflow_type, **override)
    workflow.initialize()
    missing = workflow.check_properties()
    if missing:
        raise ValueError(f"missing properties: {', '.join(missing)}.")
    engines = {"trainer": SupervisedTrainer} if workflow_type == "train" else {}
    for name, kind in {**engines, "evaluator": SupervisedEvaluator}.items():
        if not isinstance(getattr(workflow, name), kind):
            raise ValueError(f"the {name} is a {type(getattr(workflow, name)).__name__}, expected a {kind.__name__}.")
    workflow.run()
    workflow.finalize()
    return workflow


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
    with open(os.devnull, "w") as sink:
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


LIVE_CHECKS: dict[str, Callable[[Path], str]] = {
    "metadata": check_metadata,
    "keys": check_keys,
    "references": check_references,
    "network": check_network,
    "torchscript": check_torchscript,
    "load": check_load,
    "bundle_root": check_bundle_root,
    **{
        f"{workflow}, {place}": partial(check_run, workflow=workflow, place=place)
        for place in PLACES
        for workflow in WORKFLOWS
    },
}

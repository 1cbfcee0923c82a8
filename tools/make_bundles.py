"""Write the bundles from small JSON fragments and one table of pairs.

    python tools/make_bundles.py                      # write every pair into bundles/
    python tools/make_bundles.py --check              # fail when bundles/ is not what this tool writes
    python tools/make_bundles.py --pair hsem_swinu --output my_bundles --name liver --num_classes 3 --spatial_dims 3 \
        --image_size "[96,96,96]" --network_def#backbone#channels "[32,64,128]"
"""

from __future__ import annotations

import copy
import inspect
import json
import sys
from pathlib import Path
from pydoc import locate
from typing import Any

import fire

ROOT = Path(__file__).resolve().parent.parent
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from flemme_monai.registry import ENCODERS, backbone, encoders_of, pairs, reference  # noqa: E402

FRAGMENTS = Path(__file__).resolve().parent / "fragments"
BUNDLES = ROOT / "bundles"

WORKFLOWS = {name: name for name in ("train", "evaluate", "inference", "multi_gpu_train")}
OUTPUTS = {"reconstruction": "out_channels"}  # the others' outputs are num_classes
OF_A_RUN = ("seed", "amp", "device", "batch_size")  # settings that training and inference share and weights do not
POSTFIX = {"segmentation": "seg", "reconstruction": "recon"}
DROPPED = "{dropped}"


def fragment(name: str) -> dict[str, Any]:
    """The fragment of that name."""
    return json.loads((FRAGMENTS / f"{name}.json").read_text(encoding="utf-8"))


def merge(base: Any, over: Any) -> Any:
    """``base`` under ``over``: dictionaries are merged, anything else is replaced.

    A component of another class replaces one. A dictionary over a list changes its elements by index, and adds those
    under ``+``. The string ``{dropped}`` takes an entry away.
    """
    if isinstance(base, dict) and isinstance(over, dict) and over.get("_target_") in (None, base.get("_target_")):
        out = {**base, **{key: merge(base.get(key), value) for key, value in over.items()}}
        return {key: value for key, value in out.items() if not (key in base and over.get(key) == DROPPED)}
    if isinstance(base, list) and isinstance(over, dict):
        return [merge(value, over.get(str(i), value)) for i, value in enumerate(base)] + over.get("+", [])
    return copy.deepcopy(over)


def fill(value: Any, names: dict[str, str]) -> Any:
    """``value`` with each ``{name}`` in its strings and keys replaced."""
    if isinstance(value, dict):
        return {fill(k, names): fill(v, names) for k, v in value.items()}
    if isinstance(value, list):
        return [fill(v, names) for v in value]
    if isinstance(value, str):
        for name, text in names.items():
            value = value.replace("{" + name + "}", text)
    return value


def make_pair(pair: str, name: str | None = None, settings: dict[str, Any] | None = None) -> dict[str, str]:
    """The files of one bundle.

    Args:
        pair: ``<architecture>_<encoder>``.
        name: the bundle's name; the pair's by default.
        settings: values of settings, keys written as on the command line of ``monai.bundle run``.

    Returns:
        the text of each file by its path inside the bundle.

    Raises:
        ValueError: for an unknown pair or setting.
    """
    if pair not in pairs():
        raise ValueError(f"there is no pair {pair!r}; the pairs are {', '.join(pairs())}.")
    architecture, _, encoder = pair.partition("_")
    name = pair if name is None else name
    if not name.isidentifier():
        raise ValueError(f"name is {name!r}; a bundle's name has letters, digits and underscores only.")
    what = described(architecture)
    row = backbone(encoder)
    names = {
        "name": name,
        "task": what["task"],
        "outputs": OUTPUTS.get(what["task"], "num_classes"),
        "postfix": POSTFIX.get(what["task"], what["task"]),
        "title": what["title"],
        "architecture": what["network"]["class"],
        "encoder": row.name,
        "encoder_title": row.title,
        "data_type": "2D images or 3D volumes; PNG, JPEG, TIFF, NIfTI, NRRD or DICOM",
    }
    definitions = {"network_def": network(what, encoder)}
    if "autoencoder" in what:
        autoencoder = merge(described(what["autoencoder"]), {"network": what["autoencoder_network"]})
        definitions["autoencoder_def"] = network(autoencoder, encoder)
    workflows = dict(what.get("workflows", WORKFLOWS))
    if "interpolate" in what and encoder in encoders_of("none"):  # with connections an image is more than its latent
        workflows["interpolate"] = "interpolate"
    configs = {}
    for workflow, base in workflows.items():
        config = configs[workflow] = merge(fill(fragment(base), names), fill(what.get(workflow, {}), names))
        for key in ("imports", *definitions):
            if key in config:
                config[key] = sorted(config[key]) if key == "imports" else merge(definitions[key], config[key])
    if "train_autoencoder" in configs:
        configs["train_autoencoder"]["network_def"] = definitions["autoencoder_def"]
    stale = [workflow for workflow, config in configs.items() if DROPPED in json.dumps(config)]
    if stale:
        raise ValueError(f"the fragments of {pair} drop what is not there, in {', '.join(stale)}.")
    unknown = [key for key, value in (settings or {}).items() if not _set(configs, key, value)]
    if unknown:
        known = ", ".join(k for k, v in next(iter(configs.values())).items() if not isinstance(v, dict))
        raise ValueError(f"unknown settings {', '.join(unknown)}; the top-level ones are {known}.")
    metadata = _metadata(fill(fragment("metadata"), names), what, configs["inference"])
    _keep_settings(configs)
    metadata["references"] = [*what.get("references", []), reference(encoder)]

    files = {f"configs/{workflow}.json": _dump(settings_first(config)) for workflow, config in configs.items()}
    files["configs/metadata.json"] = _dump(metadata)
    files["configs/logging.conf"] = (FRAGMENTS / "logging.conf").read_text(encoding="utf-8")
    readme = FRAGMENTS / f"readme_{what.get('readme', what['task'])}.md"
    files["docs/README.md"] = fill(readme.read_text(encoding="utf-8"), names)
    files["LICENSE"] = (ROOT / "LICENSE").read_text(encoding="utf-8")
    return files


def described(architecture: str) -> dict[str, Any]:
    """What a bundle of that architecture is made of: the fragment of its task, under its layers', under its own."""
    own = fragment(f"architectures/{architecture}")
    what = fragment(f"task_{own['task']}")
    for layer in own.get("layers", []):
        what = merge(what, fragment(layer))
    what = merge(what, own)
    what["train"]["loss"] = _replace(what["loss"], "{loss_terms}", what["loss_terms"])
    if what["task"] == "generation":
        classifier = network(described("clm"), "cnn")
        classifier["backbone"]["out_channels"] = "@classifier_classes"
        for part in classifier, classifier["backbone"]:
            part["_disabled_"] = "$@classifier_path is None"
        what["evaluate"] = _replace(what["evaluate"], "{classifier}", classifier)
    if "autoencoder" in what:
        what["train_autoencoder"] = merge(described(what["autoencoder"])["train"], what["train_autoencoder"])
        what["train_diffusion"] = what["train"]
    return what


def network(what: dict[str, Any], encoder: str) -> dict[str, Any]:
    """The definition of the network of what :func:`described` gives, with an encoder."""
    row, own = ENCODERS[encoder], what["network"]
    backbone = {
        "_target_": row.path,
        "spatial_dims": "@spatial_dims",
        "in_channels": "@in_channels",
        "out_channels": f"@{OUTPUTS.get(what['task'], 'num_classes')}",
        **fragment(f"families/{row.family}"),
    }
    backbone = merge(merge(backbone, own.get("backbone", {})), own.get("families", {}).get(row.family, {}))
    if own.get("latent_vector") and row.connection == "none":
        backbone["latent_size"] = None
    return {"_target_": f"flemme_monai.architectures.{own['class']}", "backbone": backbone, **own.get("settings", {})}


def _keep_settings(configs: dict[str, dict[str, Any]]) -> None:
    """Name the settings that training keeps with the weights; evaluation and inference take them from there."""
    from flemme_monai.utils.record import CHANGEABLE

    inference, evaluate = configs["inference"], configs["evaluate"]
    trainings = [config for workflow, config in configs.items() if workflow.startswith("train")]
    for config in (*trainings, inference):
        shared = [
            name for name in config if _is_setting(name, config[name]) and name in trainings[-1].keys() & inference
        ]
        changeable = [name for name in CHANGEABLE if name in config and name not in shared]
        config["network_settings"] = {name: f"@{name}" for name in shared + changeable}
    for config, defaults in (inference, inference), (evaluate, trainings[-1]):
        config |= {name: f"$@trained.get({name!r}, {defaults[name]!r})" for name in defaults["network_settings"]}


def _is_setting(name: str, value: Any) -> bool:
    """Whether an entry of a config is a value that a user sets, and one that weights may depend on."""
    values = value if isinstance(value, list) else [value]
    plain = all(
        v is None or isinstance(v, int | float) or (isinstance(v, str) and v[:1] not in ("$", "@")) for v in values
    )
    return plain and name not in ("dataset_dir", *OF_A_RUN)


def settings_first(config: dict[str, Any]) -> dict[str, Any]:
    """A config in the order in which it is read: imports and settings, then components, then what is run."""

    def place(key: str) -> int:
        value = config[key]
        inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
        component = key == "network_settings" or (isinstance(value, dict) and (not value or "_target_" in value))
        refers = isinstance(value, str) and value.startswith("$@") and not key.endswith("_dir")
        refers = (refers and not value.startswith("$@trained.")) or "trained_network(" in str(value)
        if key in ("initialize", "run", "finalize"):
            return 2
        return int(component or refers or "#" in key or any(isinstance(v, dict) for v in inside))

    return {key: config[key] for key in sorted(config, key=place)}


def _replace(value: Any, mark: str, by: Any) -> Any:
    """``value`` with the string ``mark`` replaced by an object wherever it stands."""
    if isinstance(value, dict):
        return {k: _replace(v, mark, by) for k, v in value.items()}
    return copy.deepcopy(by) if value == mark else value


def _set(configs: dict[str, dict[str, Any]], key: str, value: Any) -> bool:
    """Set ``key`` (levels divided by ``#``) in each config that has it or whose component takes it; whether one did."""
    found = False
    *parents, last = key.split("#")
    for config in configs.values():
        node: Any = config
        for parent in parents:
            node = node.get(parent) if isinstance(node, dict) else None
        if isinstance(node, dict) and (last in node or _takes(node.get("_target_"), last)):
            node[last] = value
            found = True
    return found


def _takes(target: str | None, name: str) -> bool:
    """Whether the class or function of that path has an argument of that name."""
    return target is not None and name in inspect.signature(locate(target)).parameters


def _metadata(metadata: dict[str, Any], what: dict[str, Any], config: dict[str, Any]) -> dict[str, Any]:
    """The metadata with the shapes that the inference config's settings give."""
    image = metadata["network_data_format"]["inputs"]["image"]
    backbone = config["network_def"]["backbone"]
    channels = config[backbone["in_channels"].removeprefix("@")]
    image["spatial_shape"] = [f"{m}*n" for m in _multiple(backbone, config["spatial_dims"])]
    image["num_channels"] = channels
    image["channel_def"] = {str(i): "image" if channels == 1 else f"channel {i}" for i in range(channels)}
    image["value_range"] = what["value_ranges"][0]
    out_channels = config[backbone["out_channels"].removeprefix("@")]
    first = what["outputs"][0]
    metadata["network_data_format"]["outputs"]["pred"] = {
        "type": what["output_type"],
        "format": what["output_format"],
        "num_channels": out_channels,
        "spatial_shape": image["spatial_shape"],
        "dtype": "float32",
        "value_range": what["value_ranges"][1],
        "is_patch_data": what["task"] in POSTFIX,
        "channel_def": {
            str(i): first if i == 0 else what["outputs"][-1].replace("{i}", str(i)) for i in range(out_channels)
        },
    }
    return metadata


def _multiple(backbone: dict[str, Any], dims: int) -> list[int]:
    """Twice the backbone's total stride along each axis: the smallest size whose latent is no single position."""

    def per_axis(value: Any) -> list[int]:
        return [value] * dims if isinstance(value, int) else list(value)

    strides, depth = backbone["strides"], len(backbone["channels"])
    total = [2 * n for n in per_axis(backbone["patch_size"])]
    for stride in [strides] * depth if isinstance(strides, int) else strides:
        total = [n * s for n, s in zip(total, per_axis(stride))]
    return total


def _dump(config: dict[str, Any]) -> str:
    return json.dumps(config, indent=4) + "\n"


def write(folder: Path, files: dict[str, str]) -> None:
    """Write a bundle's files, leaving its weights and outputs alone."""
    for path, text in files.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")


def differences(folder: Path, files: dict[str, str]) -> list[str]:
    """What in a bundle's folder is not as this tool writes it."""
    found = [path for path, text in files.items() if not _same(folder / path, text)]
    extra = [
        str(p.relative_to(folder)) for part in ("configs", "docs") for p in (folder / part).rglob("*") if p.is_file()
    ]
    return found + [path for path in extra if path not in files]


def _same(path: Path, text: str) -> bool:
    return path.is_file() and path.read_text(encoding="utf-8") == text


def main(
    pair: str | None = None, output: str | None = None, name: str | None = None, check: bool = False, **settings: Any
) -> None:
    """Write all bundles, check them, or make one pair with any settings in any folder.

    Args:
        pair: the one pair to make; all of them without it.
        output: the folder to write into; ``bundles`` by default.
        name: name of the one bundle.
        check: write nothing, fail when the tree differs.
        settings: settings of the one bundle, as on the command line of ``monai.bundle run``.
    """
    if pair is None and (settings or name):
        raise ValueError(f"settings {', '.join(settings) or 'name'} need --pair: name the pair they are for.")
    root = BUNDLES if output is None else Path(output)
    bundles = (
        {p: make_pair(p) for p in pairs(shipped=True)}
        if pair is None
        else {name or pair: make_pair(pair, name, settings)}
    )
    if not check:
        for bundle, files in bundles.items():
            write(root / bundle, files)
        print(f"wrote {len(bundles)} bundle{'s' if len(bundles) > 1 else ''} into {root}")
        return
    stale = [f"{bundle}/{path}" for bundle, files in bundles.items() for path in differences(root / bundle, files)]
    stale += [p.name for p in root.iterdir() if pair is None and p.is_dir() and p.name not in bundles]
    if stale:
        raise ValueError(
            f"{root} is not what tools/make_bundles.py writes: {', '.join(stale[:10])}; run it and commit."
        )
    print(f"{len(bundles)} bundles are as tools/make_bundles.py writes them")


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    from flemme_monai.utils import one_line_errors

    with one_line_errors():
        fire.Fire(main)

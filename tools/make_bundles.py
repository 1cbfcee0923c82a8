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
FRAGMENTS = Path(__file__).resolve().parent / "fragments"
BUNDLES = ROOT / "bundles"

# name: (class, family, what it is)
ENCODERS = {
    "cnn": ("CNN", "conv", "plain convolutional"),
    "unet": ("UNet", "conv", "U-shaped convolutional"),
    "dnet": ("DNet", "conv", "densely connected convolutional"),
    "vit": ("ViT", "vit", "plain transformer"),
    "vitu": ("ViTU", "vit", "U-shaped transformer"),
    "vitd": ("ViTD", "vit", "densely connected transformer"),
    "swin": ("Swin", "swin", "plain shifted-window transformer"),
    "swinu": ("SwinU", "swin", "U-shaped shifted-window transformer"),
    "swind": ("SwinD", "swin", "densely connected shifted-window transformer"),
    "vmamba": ("VMamba", "mamba", "plain Vision Mamba"),
    "vmambau": ("VMambaU", "mamba", "U-shaped Vision Mamba"),
    "vmambad": ("VMambaD", "mamba", "densely connected Vision Mamba"),
}
REFERENCES = {
    "conv": "Ronneberger et al., U-Net: Convolutional Networks for Biomedical Image Segmentation, MICCAI 2015",
    "vit": "Dosovitskiy et al., An Image is Worth 16x16 Words: Transformers for Image Recognition at Scale, ICLR 2021",
    "swin": "Liu et al., Swin Transformer: Hierarchical Vision Transformer using Shifted Windows, ICCV 2021",
    "mamba": "Liu et al., VMamba: Visual State Space Model, NeurIPS 2024",
}
ARCHITECTURES = ("sem", "hsem", "ae", "hae")
PAIRS = tuple(f"{architecture}_{encoder}" for architecture in ARCHITECTURES for encoder in ENCODERS)
WORKFLOWS = ("train", "evaluate", "inference", "multi_gpu_train")
OUTPUTS = {"segmentation": "num_classes", "reconstruction": "out_channels"}
POSTFIX = {"segmentation": "seg", "reconstruction": "recon"}


def fragment(name: str) -> dict[str, Any]:
    """The fragment of that name."""
    return json.loads((FRAGMENTS / f"{name}.json").read_text(encoding="utf-8"))


def merge(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """``base`` with the entries of ``over``: dictionaries are merged, anything else is replaced."""
    out = dict(base)
    for key, value in over.items():
        both = isinstance(value, dict) and isinstance(out.get(key), dict)
        out[key] = merge(out[key], value) if both else copy.deepcopy(value)
    return out


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
    architecture, _, encoder = pair.partition("_")
    if architecture not in ARCHITECTURES or encoder not in ENCODERS:
        raise ValueError(f"there is no pair {pair!r}; the pairs are {', '.join(PAIRS)}.")
    name = pair if name is None else name
    if not name.isidentifier():
        raise ValueError(f"name is {name!r}; a bundle's name has letters, digits and underscores only.")
    what = fragment(f"architectures/{architecture}")
    encoder_class, family, encoder_title = ENCODERS[encoder]
    task = fragment(f"task_{what['task']}")
    outputs = OUTPUTS[what["task"]]
    names = {
        "name": name,
        "task": what["task"],
        "outputs": outputs,
        "postfix": POSTFIX[what["task"]],
        "title": what["title"],
        "architecture": what["class"],
        "encoder": encoder_class,
        "encoder_title": encoder_title,
        "data_type": "2D images or 3D volumes; PNG, JPEG, TIFF, NIfTI, NRRD or DICOM",
    }
    backbone = {
        "_target_": f"flemme_monai.backbones.{encoder_class}",
        "spatial_dims": "@spatial_dims",
        "in_channels": "@in_channels",
        "out_channels": f"@{outputs}",
        **fragment(f"families/{family}"),
    }
    if locate(backbone["_target_"]).connection == "none":
        backbone["latent_size"] = None
    network = {"_target_": f"flemme_monai.architectures.{what['class']}", "backbone": backbone, **what["network"]}

    loss_terms = task["train"].pop("loss_terms")
    configs = {workflow: fill(fragment(workflow), names) for workflow in WORKFLOWS}
    configs["train"] = merge(configs["train"], task["train"])
    configs["train"]["loss"] = _replace(what["loss"], "{loss_terms}", loss_terms)
    configs["evaluate"] = {**configs["evaluate"], **task["evaluate"]}
    configs["inference"] = merge(configs["inference"], task["inference"])
    for workflow in ("train", "inference"):
        configs[workflow]["network_def"] = network
    configs["train"]["imports"] = sorted(configs["train"]["imports"])
    unknown = [key for key, value in (settings or {}).items() if not _set(configs, key, value)]
    if unknown:
        known = ", ".join(k for k, v in configs["train"].items() if not isinstance(v, dict))
        raise ValueError(f"unknown settings {', '.join(unknown)}; the top-level ones are {known}.")
    metadata = _metadata(fill(fragment("metadata"), names), what["task"], configs["inference"])
    metadata["references"] = [REFERENCES[family]]

    files = {f"configs/{workflow}.json": _dump(config) for workflow, config in configs.items()}
    files["configs/metadata.json"] = _dump(metadata)
    files["configs/logging.conf"] = (FRAGMENTS / "logging.conf").read_text(encoding="utf-8")
    files["docs/README.md"] = fill((FRAGMENTS / f"readme_{what['task']}.md").read_text(encoding="utf-8"), names)
    files["LICENSE"] = (ROOT / "LICENSE").read_text(encoding="utf-8")
    return files


def _replace(value: Any, mark: str, by: Any) -> Any:
    """``value`` with the string ``mark`` replaced by an object wherever it stands."""
    if isinstance(value, dict):
        return {k: _replace(v, mark, by) for k, v in value.items()}
    return by if value == mark else value


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


def _metadata(metadata: dict[str, Any], task: str, config: dict[str, Any]) -> dict[str, Any]:
    """The metadata with the shapes that the inference config's settings give."""
    image = metadata["network_data_format"]["inputs"]["image"]
    dims, channels = config["spatial_dims"], config["in_channels"]
    multiple = _multiple(config["network_def"]["backbone"], dims)
    image["spatial_shape"] = [f"{m}*n" for m in multiple]
    image["num_channels"] = channels
    image["channel_def"] = {str(i): "image" if channels == 1 else f"channel {i}" for i in range(channels)}
    out_channels = config[OUTPUTS[task]]
    if task == "segmentation":
        image["value_range"] = [-5, 5]
        kind, value_range = {"type": "image", "format": "segmentation"}, []
        meaning = {str(i): "background" if i == 0 else f"class {i}" for i in range(out_channels)}
    else:
        image["value_range"] = value_range = [0, 1]
        kind = {"type": "image", "format": "magnitude"}
        meaning = {str(i): "image" for i in range(out_channels)}
    metadata["network_data_format"]["outputs"]["pred"] = {
        **kind,
        "num_channels": out_channels,
        "spatial_shape": image["spatial_shape"],
        "dtype": "float32",
        "value_range": value_range,
        "is_patch_data": True,
        "channel_def": meaning,
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
    bundles = {p: make_pair(p) for p in PAIRS} if pair is None else {name or pair: make_pair(pair, name, settings)}
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
    try:
        fire.Fire(main)
    except (ValueError, FileNotFoundError) as error:
        sys.exit(f"{type(error).__name__}: {error}")

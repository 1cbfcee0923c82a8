"""What a bundle's folder must hold, read from its files alone: no network is built and nothing is run.

Each check takes the bundle's folder, returns a remark or "", and raises ValueError saying what is wrong.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .places import BUNDLES

CONFIGS = ("metadata", "evaluate", "inference", "multi_gpu_train")
TRAININGS = (("train",), ("train_autoencoder", "train_diffusion"))
WEIGHTS = "models/model.pt"
AUTOENCODER_WEIGHTS = "models/autoencoder/model.pt"
LARGE_FILES = "large_files.yml"
MAX_BYTES = 25_000_000
PYTHON_SUFFIXES = (".py", ".pyc", ".pyi", ".pyx", ".so", ".ipynb")
DOTTED_PATH = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+")
FILE_MACRO = re.compile(r"%.*\.(json|ya?ml)(#.*)?", re.IGNORECASE)
YAML_PAIR = re.compile(r'\s*(-\s*)?(\w+):\s*"?([^"]*)"?\s*')


def find_bundle(name: str) -> Path:
    """The folder of a bundle given by its path or by its name in `bundles/`.

    Raises:
        FileNotFoundError: If neither is a folder with `configs/`.
    """
    places = (Path(name), BUNDLES / name)
    for place in places:
        if (place / "configs").is_dir():
            return place.resolve()
    raise FileNotFoundError(
        f"no bundle '{name}': neither {' nor '.join(str(p) for p in places)} has a folder configs/."
    )


def all_bundles() -> list[Path]:
    """Every bundle in `bundles/`, by name."""
    return sorted(path.parent.parent for path in BUNDLES.glob("*/configs/metadata.json"))


def trainings(bundle: Path) -> tuple[str, ...]:
    """The configs that train a bundle, in the order they run; latent diffusion has two, as in the zoo."""
    found = (names for names in TRAININGS if any((bundle / "configs" / f"{name}.json").is_file() for name in names))
    return next(found, TRAININGS[0])


def workflows(bundle: Path) -> dict[str, tuple[str, ...]]:
    """What a bundle runs, in the order it is run: configs laid over each other, by name."""
    names = trainings(bundle)
    return {**{name: (name,) for name in names}, "evaluate": (names[-1], "evaluate"), "inference": ("inference",)}


def required_files(bundle: Path) -> list[str]:
    """The files a bundle has."""
    configs = [f"configs/{name}.json" for name in (*CONFIGS, *trainings(bundle))]
    return ["LICENSE", *configs, "configs/logging.conf", "docs/README.md"]


def weights_files(bundle: Path) -> list[str]:
    """The weights that the trainings of a bundle write."""
    return [AUTOENCODER_WEIGHTS if name == "train_autoencoder" else WEIGHTS for name in trainings(bundle)]


def read_config(bundle: Path, name: str) -> dict[str, Any]:
    """The content of `configs/<name>.json`.

    Raises:
        ValueError: If the file is not a JSON object.
    """
    path = bundle / "configs" / f"{name}.json"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(f"configs/{name}.json is not JSON: {error}.") from error
    if not isinstance(content, dict):
        raise ValueError(f"configs/{name}.json holds a {type(content).__name__}, expected an object.")
    return content


def bundle_name(folder: Path) -> str | None:
    """The name of the bundle in a folder; None where there is none."""
    return read_config(folder, "metadata").get("name") if (folder / "configs" / "metadata.json").is_file() else None


def read_large_files(bundle: Path) -> list[dict[str, str]]:
    """The entries of `large_files.yml` (`path`, `url`, `hash_val`, `hash_type`), empty when there is no such file."""
    path = bundle / LARGE_FILES
    entries: list[dict[str, str]] = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else []:
        pair = YAML_PAIR.fullmatch(line)
        if pair is None or (not entries and not pair[1]):
            continue
        if pair[1]:
            entries.append({})
        entries[-1][pair[2]] = pair[3]
    return entries


def walk(config: Any, where: str = "") -> Iterator[tuple[str, str, str]]:
    """Every string of a config as (its id, its key, the string)."""
    items = config.items() if isinstance(config, dict) else enumerate(config) if isinstance(config, list) else ()
    for key, value in items:
        place = f"{where}#{key}" if where else str(key)
        if isinstance(value, str):
            yield place, str(key), value
        else:
            yield from walk(value, place)


def check_structure(bundle: Path) -> str:
    """The files the zoo and the DESIGN ask for are there; missing weights are a remark."""
    missing = [name for name in required_files(bundle) if not (bundle / name).is_file()]
    if missing:
        raise ValueError(f"missing {', '.join(missing)}.")
    empty = [name for name in ("LICENSE", "docs/README.md") if not (bundle / name).read_text(encoding="utf-8").strip()]
    if empty:
        raise ValueError(f"empty {', '.join(empty)}.")
    untrained = missing_weights(bundle)
    return f"no {', '.join(untrained)}" if untrained else ""


def missing_weights(bundle: Path) -> list[str]:
    """The weights that the bundle does not come with."""
    return [name for name in weights_files(bundle) if not (bundle / name).is_file()]


def check_version(bundle: Path) -> str:
    """`version` is a key of `changelog`."""
    metadata = read_config(bundle, "metadata")
    version, changelog = metadata.get("version"), metadata.get("changelog")
    if version is None or not isinstance(changelog, dict):
        raise ValueError("metadata.json needs a 'version' and a 'changelog' that maps versions to what changed.")
    if version not in changelog:
        raise ValueError(f"version {version} is not in the changelog, which has {', '.join(changelog) or 'no entry'}.")
    return f"v{version}"


def check_file_sizes(bundle: Path) -> str:
    """No file is over 25 MB unless `large_files.yml` says where it is hosted."""
    hosted = {entry.get("path") for entry in read_large_files(bundle)}
    files = {path.relative_to(bundle).as_posix(): path for path in bundle.rglob("*") if path.is_file()}
    large = [name for name, path in files.items() if path.stat().st_size > MAX_BYTES and name not in hosted]
    if large:
        raise ValueError(f"over 25 MB and not in {LARGE_FILES}: {', '.join(sorted(large))}.")
    return ""


def check_no_python(bundle: Path) -> str:
    """The bundle is configuration only: no Python inside."""
    found = [p.relative_to(bundle).as_posix() for p in bundle.rglob("*") if p.suffix in PYTHON_SUFFIXES]
    if found:
        raise ValueError(f"Python inside the bundle: {', '.join(sorted(found))}; code belongs in the package.")
    return ""


def check_self_contained(bundle: Path) -> str:
    """Every `_target_` is a full dotted path and no config reads another file."""
    wrong = []
    for name in (*CONFIGS, *trainings(bundle)):
        for place, key, value in walk(read_config(bundle, name)):
            if key == "_target_" and not DOTTED_PATH.fullmatch(value):
                wrong.append(f"{name}.json {place} is '{value}', expected a full dotted path")
            if FILE_MACRO.fullmatch(value):
                wrong.append(f"{name}.json {place} reads another file: '{value}'")
    if wrong:
        raise ValueError("; ".join(wrong) + ".")
    return ""


STATIC_CHECKS = {
    "structure": check_structure,
    "version": check_version,
    "file sizes": check_file_sizes,
    "no Python": check_no_python,
    "self-contained": check_self_contained,
}

"""Make bundles: one with custom settings, or all that are shipped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..recipes import differences, make_bundle, make_trained, trained_bundles, write
from ..registry import ARCHITECTURES, ENCODERS, NETWORKS, pairs
from .bundle_files import bundle_name, weights_files
from .places import BUNDLES


def list_bundles(*, trained: bool = False) -> str:
    """The pairs of which a bundle can be made, and what their parts are; or the bundles that come with weights.

    Args:
        trained: the bundles with weights: their data, test result and size, and where they are.
    """
    return _trained() if trained else _pairs()


def _trained() -> str:
    rows = []
    for bundle in trained_bundles():
        metric = bundle.metrics[0]
        folder = BUNDLES / bundle.name
        weights = [folder / name for name in weights_files(folder) if (folder / name).is_file()]
        rows.append(
            {
                "bundle": bundle.name,
                "data": bundle.dataset,
                "test": f"{metric} {bundle.results['metrics'][metric]['mean']}",
                "parameters": f"{bundle.results['parameters']:,}",
                "MB": f"{sum(path.stat().st_size for path in weights) / 1e6:.1f}" if weights else "not here",
                "task": bundle.task,
            }
        )
    widths = {name: max(len(name), *(len(row[name]) for row in rows)) for name in rows[0]}
    table = [{name: name for name in widths}, *rows]
    lines = ["  ".join(f"{row[name]:{widths[name]}}" for name in row).rstrip() for row in table]
    return "\n".join([*lines, f"\nin {BUNDLES}; their pages: <bundle>/docs/README.md"])


def _pairs() -> str:
    lines = ["architectures:"]
    lines += [f"  {row.key:8} {row.title}" + "; plain encoders" * row.plain for row in ARCHITECTURES.values()]
    lines += ["encoders and networks:"]
    lines += [f"  {row.key:8} {row.title}" for row in (*ENCODERS.values(), *NETWORKS.values())]
    lines += ["pairs, <architecture>_<encoder>:"]
    for architecture in ARCHITECTURES:
        lines.append(f"  {' '.join(pair for pair in pairs() if pair.startswith(f'{architecture}_'))}")
    return "\n".join(lines)


def make(pair: str, folder: str, *, name: str | None = None, **settings: Any) -> str:
    """Make a bundle in a folder, with custom settings.

    Args:
        pair: ``<architecture>_<encoder>``, such as ``hsem_swinu``.
        folder: the bundle's folder, whose name it takes.
        name: another name for it.
        settings: as on the command line of ``monai.bundle run``: ``--num_classes 3``, ``--image_size "[96,96]"``,
            ``--network_def#backbone#channels "[32,64,128]"``.

    Raises:
        ValueError: If there is no such pair or setting, or the folder holds something else.
    """
    target = Path(str(folder))
    name = target.resolve().name if name is None else str(name)
    files = make_bundle(pair, name, settings)
    if target.exists() and (not target.is_dir() or (any(target.iterdir()) and bundle_name(target) != name)):
        raise ValueError(f"{target} is there and no bundle called {name!r}; expected a new folder: give another")
    write(target, files)
    return f"made {name} ({pair}) in {target}"


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

    Raises:
        ValueError: If the tree differs, or settings have no pair.
    """
    if pair is None and (settings or name):
        raise ValueError(f"settings {', '.join(settings) or 'name'} need --pair: name the pair they are for.")
    root = BUNDLES if output is None else Path(str(output))
    if pair is None:
        bundles = {shipped: make_bundle(shipped) for shipped in pairs(shipped=True)}
        bundles |= {bundle.name: make_trained(bundle) for bundle in trained_bundles()}
    else:
        bundles = {name or pair: make_bundle(pair, name, settings)}
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

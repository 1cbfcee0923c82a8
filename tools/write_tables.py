"""Write the tables of encoders, networks, architectures and trained bundles into the pages, between marks.

python tools/write_tables.py            # write them
python tools/write_tables.py --check    # fail when they are not what the registry says
"""

from __future__ import annotations

import argparse
import csv
import re
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from pydoc import locate
from typing import Any, cast

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402

from flemme_monai.backbones import Backbone  # noqa: E402
from flemme_monai.backbones.backbone import ABILITIES  # noqa: E402
from flemme_monai.commands.measure import count_flops, markdown_table  # noqa: E402
from flemme_monai.published import PUBLISHED  # noqa: E402
from flemme_monai.recipes import trained_bundles  # noqa: E402
from flemme_monai.registry import ARCHITECTURES, CONNECTIONS, ENCODERS, FAMILIES, NETWORKS  # noqa: E402

SHOWN = 2  # metrics of a bundle
ALL_BACKGROUND = 0.4995  # Dice of the background and of a small organ that is never found, averaged
SIDES = {2: 256, 3: 128}  # of the images whose operations are counted
ABILITIES_OF = {  # what an architecture needs of a network, by names of ABILITIES
    **dict.fromkeys(("hsem", "hae"), "pyramid"),
    "clm": "encode",
    **dict.fromkeys(("ddpm", "edm", "sdm", "dsem"), "denoise"),
    **dict.fromkeys(("vae", "ldm"), "decode"),
}


def encoders() -> str:
    """The encoders, a row a family and a column a connection, then the networks from elsewhere."""
    found = {(row.family, row.connection): f"`{row.name}`" for row in ENCODERS.values()}
    rows = []
    for family in FAMILIES.values():
        cells = {title: found.get((family.key, connection), "") for connection, title in CONNECTIONS.items()}
        rows.append({"family": f"`{family.name}`, {family.title}", **cells})
    return markdown_table(rows)


def networks() -> str:
    """Which architectures each network from elsewhere serves, which are shipped, and why others are refused."""
    reasons: list[str] = []
    rows = []
    for row in NETWORKS.values():
        refusals = built(row.key).refusals
        cells = {"network": f"`{row.key}`", "what it is": row.title}
        for architecture in ARCHITECTURES.values():
            if architecture.key in row.architectures:
                cells[architecture.name] = "**yes**" if architecture.key in row.shipped else "yes"
            else:
                ability = ABILITIES_OF[architecture.key]
                reason = f"needs {ABILITIES[ability]}: {refusals[ability]}"
                reasons += [reason] if reason not in reasons else []
                cells[architecture.name] = f"no ({reasons.index(reason) + 1})"
        rows.append(cells)
    notes = "\n".join(f"{i}. {reason}" for i, reason in enumerate(reasons, start=1))
    return f"{markdown_table(rows)}\n\n{notes}"


def network_sizes() -> str:
    """The networks at published settings: parameters here and there, and multiply-adds here."""
    rows = []
    for size in PUBLISHED:
        network = built(size.key, size.spatial_dims, size.in_channels, size.out_channels, **size.settings).eval()
        image = torch.empty(1, size.in_channels, *[SIDES[size.spatial_dims]] * size.spatial_dims, device="meta")
        settings = ", ".join(f"{name}={value!r}" for name, value in size.settings.items())
        rows.append(
            {
                "network": f"`{size.key}`" + (f" {settings}" if settings else ""),
                "form": f"{size.spatial_dims}D, {size.in_channels} → {size.out_channels}",
                "parameters": f"{size.parameters:,}",
                "GFLOP": f"{count_flops(partial(network, image)) / 1e9:,.1f}",
                "published": "unknown" if size.figure is None else f"{size.figure:,}",
                "of": size.source,
                "difference": size.difference or "none",
            }
        )
    return markdown_table(rows)


def papers() -> str:
    """The papers that the networks are from."""
    return "\n".join(f"- `{row.key}`: {row.reference}" for row in NETWORKS.values())


def built(key: str, spatial_dims: int = 2, in_channels: int = 3, out_channels: int = 2, **settings: Any) -> Backbone:
    """A network of published size without memory for its weights."""
    with torch.device("meta"):
        return cast(Any, locate(NETWORKS[key].path))(spatial_dims, in_channels, out_channels, **settings)


def architectures() -> str:
    """What each architecture is for."""
    rows = ARCHITECTURES.values()
    return markdown_table(
        [{"architecture": f"`{row.name}`", "what for": row.title + "; plain encoders" * row.plain} for row in rows]
    )


def trained() -> str:
    """What the bundles with weights are and what they reach on their test cases."""
    rows = []
    for bundle in trained_bundles():
        results = bundle.results
        chosen = results["chosen"]
        tested = [f"{name} {results['metrics'][name]['mean']}" for name in bundle.metrics[:SHOWN]]
        rows.append(
            {
                "bundle": f"[`{bundle.name}`](../bundles/{bundle.name}/docs/README.md)",
                "data": bundle.dataset,
                "parameters": f"{results['parameters']:,}",
                "epochs": results["epochs"],
                "minutes": results["minutes"],
                "validation": f"{chosen['metric']} {chosen['value']}, epoch {chosen['epoch']}",
                "test": ", ".join(tested),
            }
        )
    return markdown_table(rows)


def leaderboard() -> str:
    """The published networks by what they reach on the nuclei, beside JMedSeg's published results."""
    jmedseg = {row["network"]: float(row["dice"]) for row in measured("jmedseg_pancreas")}
    rows = []
    for row in sorted(measured("nuclei_networks"), key=lambda row: -float(row["dice"])):
        network = row["bundle"].removeprefix("sem_")
        theirs = jmedseg.get(network)
        collapsed = theirs is not None and abs(theirs - ALL_BACKGROUND) < 1e-3
        rows.append(
            {
                "network": f"`{network}`",
                "channels": row["channels"],
                "parameters": f"{int(row['parameters']):,}",
                "Dice": f"{float(row['dice']):.4f}",
                "IoU": f"{float(row['iou']):.4f}",
                "surface distance": f"{float(row['surface_distance']):.2f}",
                "GFLOP": f"{float(row['GFLOP']):.1f}",
                "step, ms": f"{float(row['step ms']):.0f}",
                "image, ms": f"{float(row['inference ms']):.0f}",
                "step, MiB": f"{float(row['step MiB']):.0f}",
                "JMedSeg, pancreas": "" if theirs is None else f"{theirs:.4f}" + " (only background)" * collapsed,
            }
        )
    return markdown_table(rows)


def overfitted() -> str:
    """After how many steps each published network knew four images."""
    rows = [{**row, "network": f"`{row['network']}`"} for row in measured("networks_overfit")]
    return markdown_table([{name: row[name] for name in ("network", "parameters", "steps", "dice")} for row in rows])


def measured(name: str) -> list[dict[str, str]]:
    """The rows of a file of results."""
    with (ROOT / "docs" / "results" / f"{name}.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def filled(page: str, text: str) -> str:
    """A page with each of its tables as the tables of the package have it."""
    for name in PAGES[page]:
        begin, end = f"<!-- {name}: by tools/write_tables.py -->", f"<!-- {name}: end -->"
        content = TABLES[name]()
        text, count = re.subn(f"{begin}.*?{end}", f"{begin}\n{content}\n{end}", text, flags=re.DOTALL)
        if count != 1:
            raise ValueError(f"{page} has {count} tables between {begin} and {end}; expected one.")
    return text


TABLES = {
    "encoders": encoders,
    "architectures": architectures,
    "trained": trained,
    "networks": networks,
    "network_sizes": network_sizes,
    "papers": papers,
    "leaderboard": leaderboard,
    "overfitted": overfitted,
}
PAGES = {
    "README.md": ("encoders", "architectures"),
    "docs/results.md": ("trained",),
    "docs/leaderboard.md": ("leaderboard", "overfitted"),
    "docs/networks.md": ("networks", "network_sizes", "papers"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Write the tables, or compare them.

    Returns:
        1 when they are compared and differ, else 0.
    """
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing, fail when they differ")
    args = parser.parse_args(argv)
    stale = []
    for name in PAGES:
        page = ROOT / name
        text = page.read_text(encoding="utf-8")
        new = filled(name, text)
        if new != text:
            stale.append(name)
            if not args.check:
                page.write_text(new, encoding="utf-8")
    if args.check and stale:
        print(f"the tables of {', '.join(stale)} are not up to date: run tools/write_tables.py", file=sys.stderr)
    return int(args.check and bool(stale))


if __name__ == "__main__":
    sys.exit(main())

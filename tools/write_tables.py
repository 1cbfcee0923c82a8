"""Write the tables of encoders, architectures and trained bundles into the pages, between marks.

python tools/write_tables.py            # write them
python tools/write_tables.py --check    # fail when they are not what the registry says
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from flemme_monai.commands.measure import markdown_table  # noqa: E402
from flemme_monai.recipes import trained_bundles  # noqa: E402
from flemme_monai.registry import ARCHITECTURES, CONNECTIONS, ENCODERS, FAMILIES, NETWORKS  # noqa: E402

SHOWN = 2  # metrics of a bundle


def encoders() -> str:
    """The encoders, a row a family and a column a connection, then the networks from elsewhere."""
    found = {(row.family, row.connection): f"`{row.name}`" for row in ENCODERS.values()}
    rows = []
    for family in FAMILIES.values():
        cells = {title: found.get((family.key, connection), "") for connection, title in CONNECTIONS.items()}
        rows.append({"family": f"`{family.name}`, {family.title}", **cells})
    text = markdown_table(rows)
    if NETWORKS:
        rows = []
        for network in NETWORKS.values():
            served = ", ".join(f"`{ARCHITECTURES[key].name}`" for key in network.architectures)
            rows.append({"network": f"`{network.name}`", "what it is": network.title, "architectures": served})
        text += f"\n\n{markdown_table(rows)}"
    return text


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


def filled(page: str, text: str) -> str:
    """A page with each of its tables as the tables of the package have it."""
    for name in PAGES[page]:
        begin, end = f"<!-- {name}: by tools/write_tables.py -->", f"<!-- {name}: end -->"
        content = TABLES[name]()
        text, count = re.subn(f"{begin}.*?{end}", f"{begin}\n{content}\n{end}", text, flags=re.DOTALL)
        if count != 1:
            raise ValueError(f"{page} has {count} tables between {begin} and {end}; expected one.")
    return text


TABLES = {"encoders": encoders, "architectures": architectures, "trained": trained}
PAGES = {"README.md": ("encoders", "architectures"), "docs/results.md": ("trained",)}


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

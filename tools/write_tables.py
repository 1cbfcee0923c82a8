"""Write the tables of encoders and architectures into README.md, between marks, from the registry.

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
from flemme_monai.registry import ARCHITECTURES, CONNECTIONS, ENCODERS, FAMILIES, NETWORKS  # noqa: E402


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


def filled(text: str) -> str:
    """A page with each table between its marks as the registry has it."""
    for name, content in {"encoders": encoders(), "architectures": architectures()}.items():
        begin, end = f"<!-- {name}: by tools/write_tables.py -->", f"<!-- {name}: end -->"
        text, count = re.subn(f"{begin}.*?{end}", f"{begin}\n{content}\n{end}", text, flags=re.DOTALL)
        if count != 1:
            raise ValueError(f"README.md has {count} tables between {begin} and {end}; expected one.")
    return text


def main(argv: Sequence[str] | None = None) -> int:
    """Write the tables, or compare them.

    Returns:
        1 when they are compared and differ, else 0.
    """
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing, fail when they differ")
    args = parser.parse_args(argv)
    page = ROOT / "README.md"
    text = page.read_text(encoding="utf-8")
    new = filled(text)
    if args.check:
        if new != text:
            print("the tables of README.md are not what the registry says: run tools/write_tables.py", file=sys.stderr)
        return int(new != text)
    page.write_text(new, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

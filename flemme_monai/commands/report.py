"""A comparison as one page of HTML that needs no other file.

    flemme-monai report comparison
    flemme-monai report comparison --page nuclei.html

The folder is the `--output` of `flemme-monai compare`, or a copy of its CSV files, pictures and `comparison.json`.
Tables sort by a click on the head of a column; figures, commands and the environment are in the page.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from ..comparison.report import report
from ..utils.files import text_file


def main(argv: Sequence[str] | None = None, prog: str | None = None) -> int:
    """Write the page of the comparison named on the command line."""
    parser = argparse.ArgumentParser(prog=prog, description=__doc__.splitlines()[0])
    parser.add_argument("results", type=Path, metavar="RESULTS", help="folder of a comparison")
    parser.add_argument("--page", type=Path, help="the file (default: report.html in the folder)")
    args = parser.parse_args(argv)
    page = args.page or args.results / "report.html"
    content = report(args.results)
    with text_file(page) as file:
        file.write(content)
    print(f"written: {page}")
    return 0

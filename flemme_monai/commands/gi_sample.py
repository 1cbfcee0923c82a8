"""Write a small data set in the layout of Kaggle's UW-Madison GI tract challenge, made of phantoms.

flemme-monai gi-sample DIR
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from ..data.gi_sample import write_gi_sample


def main(argv: Sequence[str] | None = None, prog: str | None = None) -> int:
    """Write the data set that the command line describes, and say what to do with it."""
    parser = argparse.ArgumentParser(prog=prog, description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="a new folder")
    parser.add_argument("--cases", type=int, default=6, help="number of cases, of one or two days each")
    parser.add_argument("--slices", type=int, default=8, help="slices of each day")
    parser.add_argument("--seed", type=int, default=0, help="the same seed writes the same files")
    args = parser.parse_args(argv)
    number = write_gi_sample(args.folder, args.cases, args.slices, args.seed)
    print(
        f"{number} slices of {args.cases} cases in {args.folder}; train on them with --dataset_dir {args.folder} "
        "--multi_label true --num_classes 3"
    )
    return 0

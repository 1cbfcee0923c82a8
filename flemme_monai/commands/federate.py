"""Write a job of NVFlare that trains a bundle on the data of several clients without moving them.

flemme-monai federate hsem_unet job --clients DIR1 DIR2 --rounds 5 --workspace workspace --set num_classes=3
nvflare simulator job -w workspace -n 2 -t 1
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from ..federated import allow_classes, write_job
from ..utils.command_line import overrides
from .benchmark import setting
from .bundle_files import find_bundle


def main(argv: Sequence[str] | None = None, prog: str | None = None) -> int:
    """Write the job that the command line describes, and say how it is run."""
    parser = argparse.ArgumentParser(prog=prog, description=__doc__.splitlines()[0])
    parser.add_argument("bundle", help="its name in bundles/, or its path")
    parser.add_argument("job", type=Path, help="a new folder")
    parser.add_argument("--clients", nargs="+", required=True, metavar="DIR", help="each client's folder of data")
    parser.add_argument(
        "--workspace", type=Path, metavar="DIR", help="a new folder in which NVFlare's simulator tries the job here"
    )
    parser.add_argument("--rounds", type=int, default=10, help="number of times that weights are averaged")
    parser.add_argument("--local_epochs", type=int, default=1, help="epochs that each client trains in a round")
    parser.add_argument("--set", type=setting, nargs="+", default=[], metavar="NAME=VALUE", help="settings of training")
    args = parser.parse_args(argv)
    bundle = find_bundle(args.bundle).resolve()
    settings = overrides([word for name, value in args.set for word in (f"--{name}", value)])
    names = write_job(args.job, bundle, args.clients, args.rounds, args.local_epochs, settings)
    print(f"{args.job}: {args.rounds} rounds of {args.local_epochs} epochs at {', '.join(names)}")
    if args.workspace is not None:
        allow_classes(args.workspace)
        print(f"try it here: nvflare simulator {args.job} -w {args.workspace} -n {len(names)} -t {len(names)}")
    return 0

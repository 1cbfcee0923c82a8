"""Plan a bundle from a data set: spacing, intensities, patch, stages, batch and sampling, each with its reason.

    flemme-monai plan --dataset_dir DIR --pair hsem_vmambau --memory 16 --output bundles/liver
    flemme-monai plan --dataset_dir DIR --pair hsem_unet --output bundles/liver --spacing 1 1 3 --modality ct

It writes the bundle, and plan.json and report.md into its folder plan/. What was read of the data set is kept there
too, so that another plan of it takes seconds.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from ..planning import (
    MODALITIES,
    check_request,
    check_same_data,
    make_plan,
    read_data_set,
    read_plan,
    write_plan,
    write_planned,
    write_report,
)
from .bundle_files import bundle_name
from .costs import peak_mebibytes

PLAN_FOLDER = "plan"


def main(argv: Sequence[str] | None = None, prog: str | None = None) -> int:
    """Plan what the command line says.

    Returns:
        0.

    Raises:
        ValueError: If the output's folder holds something else, or nothing can be planned.
    """
    parser = argparse.ArgumentParser(
        prog=prog, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dataset_dir", required=True, help="the data set's folder, in any layout of docs/data.md")
    parser.add_argument("--pair", default="hsem_unet", help="a segmentation, <architecture>_<backbone>")
    parser.add_argument("--memory", type=float, default=8.0, help="GiB that a training step may take")
    parser.add_argument(
        "--dry_run",
        action="store_true",
        help="measure training steps on this machine's processor and correct the count",
    )
    parser.add_argument("--output", type=Path, required=True, help="the bundle's folder, whose name it takes")
    parser.add_argument("--spatial_dims", type=int, choices=(2, 3), help="2 takes volumes slice by slice")
    parser.add_argument("--neighbour_slices", type=int, help="on each side of a slice that are channels of it too")
    parser.add_argument("--spacing", type=float, nargs="+", help="mm along each axis, in the place of the planned one")
    parser.add_argument("--modality", choices=MODALITIES, help="where neither dataset.json nor DICOM names it")
    parser.add_argument("--in_channels", type=int, help="image channels, where dataset.json does not name them")
    parser.add_argument("--multi_label", action="store_true", help="classes have masks of their own and may overlap")
    parser.add_argument("--num_workers", type=int, default=min(8, os.cpu_count() or 1), help="threads that read")
    parser.add_argument("--check", type=Path, metavar="PLAN", help="only see that this plan.json is of the data set")
    args = parser.parse_args(argv)
    folder, name = args.output / PLAN_FOLDER, args.output.resolve().name
    others = [path.name for path in args.output.glob("*") if path.name != PLAN_FOLDER]
    if others and bundle_name(args.output) != name:
        raise ValueError(f"{args.output} is there and no bundle called {name!r}; expected a new folder: give another")
    check_request(args.pair, args.memory)  # before minutes of reading
    data = read_data_set(args.dataset_dir, args.in_channels, args.modality, args.num_workers, folder, args.multi_label)
    if args.check is not None:
        check_same_data(read_plan(args.check), data)
        print(f"{args.check} is a plan of {data.folder}")
        return 0
    measure = partial(peak_mebibytes, args.pair) if args.dry_run else None
    plan = make_plan(data, args.pair, args.memory, args.spatial_dims, args.spacing, args.neighbour_slices, measure)
    write_planned(plan, args.output)
    path = write_plan(plan, folder)
    report = write_report(plan, data, folder)
    for setting, value in plan.settings.items():
        print(f"{setting}: {value}  ({plan.reasons[setting]})")
    for warning in plan.warnings:
        print(f"warning: {warning}")
    print(f"made {name} ({plan.pair}) in {args.output}, with {path} and {report}")
    return 0

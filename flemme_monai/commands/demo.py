"""A web page on which trained bundles are tried.

    flemme-monai demo
    flemme-monai demo nuclei_hsem_unet hippocampus_hsem_unet --dataset_dir DATA

It listens at 127.0.0.1, where only this machine sees it, unless --address says otherwise. It needs gradio:
pip install "flemme-monai[demo]".
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from ..demo.limits import Limits

LOCAL = "127.0.0.1"


def parser(prog: str | None = None) -> argparse.ArgumentParser:
    """What the command takes."""
    parser = argparse.ArgumentParser(
        prog=prog, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    limits = Limits()
    parser.add_argument("bundles", nargs="*", metavar="BUNDLE", help="names in bundles/, or paths; all with weights")
    parser.add_argument("--dataset_dir", type=Path, help="cases to choose from, or a folder of data sets")
    parser.add_argument("--port", type=int, help="to listen at (default: the first free one from 7860)")
    parser.add_argument("--address", default=LOCAL, help=f"to listen at (default: {LOCAL}; 0.0.0.0 for all networks)")
    parser.add_argument("--device", default="auto", help="that runs the networks (default: auto)")
    parser.add_argument("--max_mb", type=float, default=limits.megabytes, help="of an upload (default: %(default)g)")
    parser.add_argument(
        "--max_megavoxels",
        type=float,
        default=limits.megavoxels,
        help="of an image, in millions (default: %(default)g)",
    )
    parser.add_argument("--max_seconds", type=float, default=limits.seconds, help="of a run (default: %(default)g)")
    return parser


def main(argv: Sequence[str] | None = None, prog: str | None = None) -> int:
    """Serve the page until it is interrupted.

    Raises:
        FileNotFoundError: If gradio is not installed, or there is no such bundle or folder.
        ValueError: If a bundle has no weights, or a bound is not above 0.
    """
    args = parser(prog).parse_args(argv)
    if find_spec("gradio") is None:
        raise FileNotFoundError('gradio is not installed, which the page needs: pip install "flemme-monai[demo]"')
    if args.dataset_dir is not None and not args.dataset_dir.expanduser().is_dir():
        raise FileNotFoundError(f"there is no folder {args.dataset_dir}: name the folder of a data set")
    limits = Limits(megabytes=args.max_mb, megavoxels=args.max_megavoxels, seconds=args.max_seconds)
    with tempfile.TemporaryDirectory(prefix="flemme_demo_") as root:
        # before gradio is imported: its copies of uploads and pictures go with the folder, and it calls nobody
        os.environ["GRADIO_TEMP_DIR"] = str(Path(root, "gradio"))
        os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
        from ..demo.page import serve
        from ..demo.served import ServedBundle, bundles_to_serve

        served = {
            folder.name: ServedBundle(folder, args.dataset_dir, args.device)
            for folder in bundles_to_serve(args.bundles)
        }
        visitors = Path(root, "visitors")
        visitors.mkdir()
        serve(served, visitors, limits, args.address, args.port)
    return 0

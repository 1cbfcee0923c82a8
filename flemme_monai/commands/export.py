"""Export bundles' networks to ONNX, and compare each graph's numbers with the network's at two sizes and batches.

    flemme-monai export sem_unet --output models_onnx

Weights are the bundle's own; one without gets random ones, to see what the export takes.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from .bundle_checks import temporary_copy
from .bundle_files import find_bundle
from .measure import machine, markdown_table
from .onnx_checks import largest_difference, load_network


def main(argv: Sequence[str] | None = None, prog: str | None = None) -> int:
    """Export the bundles named on the command line, and print a table."""
    parser = argparse.ArgumentParser(prog=prog, description=__doc__.splitlines()[0])
    parser.add_argument("bundles", nargs="+", help="names in bundles/, or paths")
    parser.add_argument("--output", type=Path, default=Path("exported"), help="folder of the graphs")
    args = parser.parse_args(argv)
    import onnx

    from ..utils.onnx import export_onnx

    args.output.mkdir(parents=True, exist_ok=True)
    rows = []
    for bundle in map(find_bundle, args.bundles):
        with temporary_copy(bundle) as copy:
            network = load_network(copy)
        path = args.output / f"{bundle.name}.onnx"
        start = time.process_time()
        export_onnx(network, path)
        seconds = time.process_time() - start
        nodes = len(onnx.load(path).graph.node)
        rows.append({"bundle": bundle.name, "export s": seconds, "nodes": nodes})
        rows[-1]["largest difference"] = f"{largest_difference(network, path):.1e}"
        print(f"{path}: {seconds:.0f} s of the processor", file=sys.stderr)
    print(f"{machine()}\n\n{markdown_table(rows)}")
    return 0

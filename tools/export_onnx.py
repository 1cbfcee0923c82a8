"""Export bundles' networks to ONNX, and compare each graph's numbers with the network's at two sizes and batches.

    python tools/export_onnx.py sem_unet --output models_onnx

Weights are the bundle's own; one without gets random ones, to see what the export takes.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from bundle_checks import temporary_copy
from bundle_files import ROOT, WEIGHTS, find_bundle
from bundle_runs import read_stack
from measure import machine, markdown_table
from torch import nn

TOLERANCE = 1e-3  # of the largest value


def load_network(bundle: Path) -> nn.Module:
    """A bundle's network with its weights, or random ones, in evaluation."""
    with temporary_copy(bundle) as copy:
        network = read_stack(copy, ("inference",)).get_parsed_content("network_def")
        network.load_state_dict(torch.load(copy / WEIGHTS, map_location="cpu", weights_only=True))
    return network.eval()


def largest_difference(network: nn.Module, path: Path) -> float:
    """Of a graph's and a network's numbers, over the largest value, at another size and two batches.

    Raises:
        ValueError: for a graph that gives other numbers.
    """
    import onnxruntime

    from flemme_monai.utils.onnx import example_inputs

    session = onnxruntime.InferenceSession(str(path))
    example = {"image" if name == "x" else name: x for name, x in example_inputs(network)[0].items() if x is not None}
    size, divisor = example["image"].shape[2:], getattr(network, "backbone", network).encoder.size_divisor
    other = size if getattr(network, "vector", False) else [d * n for d, n in zip(divisor, (3, 7, 2))]
    worst = 0.0
    for batch, sides in ((2, size), (4, other)):
        inputs = {}
        for name, x in example.items():
            shape = (batch, *x.shape[1:]) if x.ndim < 3 else (batch, x.shape[1], *sides)
            inputs[name] = torch.rand(shape) if x.ndim > 2 else torch.ones(shape, dtype=x.dtype)
        image, *_ = inputs.values()
        with torch.no_grad():
            expected = network(image, inputs.get("timesteps"), inputs.get("context"))
        (found,) = session.run(None, {name: x.numpy() for name, x in inputs.items()})
        if found.shape != expected.shape:
            raise ValueError(f"{path.name} gives {found.shape}; expected {tuple(expected.shape)}: it is of one size.")
        difference = ((torch.from_numpy(found) - expected).abs().max() / expected.abs().max()).item()
        if not difference < TOLERANCE:
            raise ValueError(f"{path.name} differs by {difference:.2g} of the largest value at {tuple(image.shape)}.")
        worst = max(worst, difference)
    return worst


def main(argv: Sequence[str] | None = None) -> int:
    """Export the bundles named on the command line, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundles", nargs="+", help="names in bundles/, or paths")
    parser.add_argument("--output", type=Path, default=Path("onnx"), help="folder of the graphs")
    args = parser.parse_args(argv)
    import onnx

    from flemme_monai.utils.onnx import export_onnx

    args.output.mkdir(parents=True, exist_ok=True)
    rows = []
    for bundle in map(find_bundle, args.bundles):
        network, path = load_network(bundle), args.output / f"{bundle.name}.onnx"
        start = time.process_time()
        export_onnx(network, path)
        seconds = time.process_time() - start
        nodes = len(onnx.load(path).graph.node)
        rows.append({"bundle": bundle.name, "export s": seconds, "nodes": nodes})
        rows[-1]["largest difference"] = f"{largest_difference(network, path):.1e}"
        print(f"{path}: {seconds:.0f} s of the processor", file=sys.stderr)
    print(f"{machine()}\n\n{markdown_table(rows)}")
    return 0


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    sys.exit(main())

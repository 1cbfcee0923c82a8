"""That a bundle's network exports to ONNX, and that its graph gives the network's numbers at two sizes and batches."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch

from ..architectures import VAE
from ..architectures.architecture import Architecture
from .bundle_files import WEIGHTS
from .bundle_runs import read_stack

TOLERANCE = 1e-4  # of the largest value


def load_network(bundle: Path) -> Architecture:
    """A bundle's network with its weights, in evaluation."""
    network = read_stack(bundle, ("inference",)).get_parsed_content("network_def")
    network.load_state_dict(torch.load(bundle / WEIGHTS, map_location="cpu", weights_only=True))
    return network.eval()


def largest_difference(network: Architecture, path: Path) -> float:
    """Of a graph's and a network's numbers, over the largest value, at another size and two batches.

    Raises:
        ValueError: If the graph gives other numbers.
    """
    import onnxruntime

    from ..utils.onnx import example_inputs

    session = onnxruntime.InferenceSession(str(path))
    example = {"image" if name == "x" else name: x for name, x in example_inputs(network)[0].items() if x is not None}
    size, divisor = example["image"].shape[2:], network.backbone.size_divisor
    other: Sequence[int] = [d * n for d, n in zip(divisor, (3, 7, 2))]
    if isinstance(network, VAE) and network.has_vector_latent:
        other = size
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


def check_onnx(bundle: Path) -> str:
    """The network exports to ONNX, and the graph gives the same numbers at two sizes and batches."""
    from ..utils.onnx import export_onnx

    network = load_network(bundle)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{bundle.name}.onnx"
        export_onnx(network, path)
        return f"largest difference {largest_difference(network, path):.1e}"

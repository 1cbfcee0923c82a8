"""Networks as ONNX graphs that take any batch and any size that the network takes."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import torch
from torch.fx.passes.dialect.common.cse_pass import CSEPass

from ..ops.exported import whole_nodes

if TYPE_CHECKING:
    from ..architectures.architecture import Architecture


def export_onnx(network: Architecture, path: str | os.PathLike) -> None:
    """Write a network as one ONNX file; its inputs are called image, timesteps and context, its output pred.

    Batch and sizes stay symbols: sizes are multiples of the network's total stride, at least two of them an axis,
    and the graph refuses what is no multiple. A variational auto-encoder whose latent is a vector has the one size that
    it decodes to.

    Args:
        network: an architecture of this package.
        path: of the file.

    Raises:
        torch._dynamo.exc.UserError: If sizes cannot stay symbols; a graph of one size only is never written.
    """
    from .onnx_translations import TRANSLATIONS, refuse_other_sizes

    inputs, axes = example_inputs(network)
    training = network.training
    try:
        with whole_nodes():
            program = torch.export.export(network.eval(), tuple(inputs.values()), dynamic_shapes=axes)
        # what several blocks compute alike, as tables of windows and scans, is translated once: half the nodes
        shared = CSEPass()(program.graph_module)
        assert shared is not None, "the pass gives a result"
        program.graph_module.graph = shared.graph_module.graph
        exported = torch.onnx.export(
            program,
            tuple(inputs.values()),
            input_names=["image" if name == "x" else name for name, x in inputs.items() if x is not None],
            output_names=["pred"],
            dynamic_shapes=axes,
            custom_translation_table=TRANSLATIONS,
            dynamo=True,
            verbose=False,
        )
    finally:
        network.train(training)
    assert exported is not None, "the exporter of torch.export's programs gives one of ONNX"
    refuse_other_sizes(exported.model, network.backbone.size_divisor)
    exported.save(os.fspath(path), external_data=False)


def example_inputs(
    network: Architecture,
) -> tuple[dict[str, torch.Tensor | None], dict[str, dict[int, object] | None]]:
    """Inputs of a network's ``forward`` to show an exporter, and which of their axes are symbols.

    Args:
        network: an architecture of this package.

    Returns:
        the inputs by name, None for what it does without; for each the symbols (:class:`torch.export.Dim`) by axis.
    """
    from ..architectures import VAE

    backbone, settings = network.backbone, network.backbone.conditioning
    batch = torch.export.Dim("batch")
    axes: dict[int, object] = {0: batch}
    size = [divisor * count for divisor, count in zip(backbone.size_divisor, (6, 5, 4))]
    if isinstance(network, VAE) and network.has_vector_latent:
        size = [divisor * n for divisor, n in zip(backbone.size_divisor, network.bottleneck_size)]
    else:
        for axis, divisor in enumerate(backbone.size_divisor):
            count = torch.export.Dim(f"size_{axis}", min=2)
            axes[2 + axis] = count if divisor == 1 else divisor * count
    device = next(network.parameters()).device
    inputs: dict[str, torch.Tensor | None] = {"x": torch.rand(3, backbone.in_channels, *size, device=device)}
    shapes: dict[str, dict[int, object] | None] = {"x": axes}
    if settings is not None and settings.timesteps:
        inputs["timesteps"], shapes["timesteps"] = torch.linspace(1, 50, 3, device=device), {0: batch}
    if settings is not None and settings.context is not None:
        # a forward's arguments by their places: a context alone comes after no time steps
        inputs.setdefault("timesteps", None)
        shapes.setdefault("timesteps", None)
        if settings.context == "image":
            inputs["context"] = torch.rand(3, settings.size, *size, device=device)
            shapes["context"] = axes
        else:
            shape = (3,) if settings.context == "class" else (3, settings.size)
            kind = torch.float32 if settings.context == "vector" else torch.long
            inputs["context"], shapes["context"] = torch.zeros(shape, dtype=kind, device=device), {0: batch}
    return inputs, shapes

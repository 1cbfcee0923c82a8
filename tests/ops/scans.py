"""Random scans, and how far two results are apart."""

from __future__ import annotations

import torch


def selective_inputs(
    images: int = 2,
    groups: int = 2,
    channels: int = 6,
    states: int = 3,
    length: int = 70,
    dtype: torch.dtype = torch.float32,
) -> dict[str, torch.Tensor]:
    """All tensors that ``selective_scan`` takes, by name, as Mamba would make them."""
    shapes = {
        "u": (images, channels, length),
        "delta": (images, channels, length),
        "A": (channels, states),
        "B": (images, groups, states, length),
        "C": (images, groups, states, length),
        "D": (channels,),
        "z": (images, channels, length),
        "delta_bias": (channels,),
    }
    inputs = {name: torch.randn(shape, dtype=dtype) for name, shape in shapes.items()}
    inputs["A"] = -inputs["A"].exp()
    return {name: x.requires_grad_() for name, x in inputs.items()}


def ssd_inputs(
    images: int = 2,
    groups: int = 2,
    heads: int = 4,
    width: int = 5,
    states: int = 3,
    length: int = 70,
    dtype: torch.dtype = torch.float32,
) -> dict[str, torch.Tensor]:
    """All tensors that ``ssd_scan`` takes, by name, as Mamba-2 would make them."""
    shapes = {
        "x": (images, length, heads, width),
        "dt": (images, length, heads),
        "A": (heads,),
        "B": (images, length, groups, states),
        "C": (images, length, groups, states),
        "D": (heads,),
        "z": (images, length, heads, width),
        "dt_bias": (heads,),
        "initial_states": (images, heads, width, states),
    }
    inputs = {name: torch.randn(shape, dtype=dtype) for name, shape in shapes.items()}
    inputs["A"] = -inputs["A"].exp()
    return {name: x.requires_grad_() for name, x in inputs.items()}


def double(inputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The same in float64."""
    return {name: x.detach().double().requires_grad_() for name, x in inputs.items()}


def error(result: torch.Tensor, exact: torch.Tensor) -> float:
    """Norm of the difference over the norm of what is exact."""
    result, exact = result.detach().double(), exact.detach()
    return float((result - exact).norm() / exact.norm().clamp_min(1e-30))


def gradients(y: torch.Tensor, inputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Gradients of every input for a fixed random gradient of ``y``."""
    weight = torch.randn(y.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64).to(y)
    return dict(zip(inputs, torch.autograd.grad((y * weight).sum(), list(inputs.values()))))

"""Mamba's blocks as their papers and forks write them, step by step: slow, and independent of the package."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F

Weights = Mapping[str, torch.Tensor]


def relative(found: torch.Tensor, expected: torch.Tensor) -> float:
    """The largest difference, relative to the largest expected number."""
    return ((found.double() - expected).abs().max() / expected.abs().max().clamp_min(1e-30)).item()


def compare(
    block: Callable[[torch.Tensor], torch.Tensor],
    weights: Weights,
    literal: Callable[[torch.Tensor, Weights], torch.Tensor],
    x: torch.Tensor,
    tolerance: float = 1e-4,
) -> None:
    """Output and all gradients of a block of float32, beside a literal of float64 with the same weights."""
    x = x.detach().requires_grad_()
    y = block(x)
    direction = torch.randn_like(y)
    found = torch.autograd.grad(y, [x, *weights.values()], direction)
    doubles = {name: v.detach().double().requires_grad_() for name, v in weights.items()}
    x64 = x.detach().double().requires_grad_()
    y64 = literal(x64, doubles)
    expected = torch.autograd.grad(y64, [x64, *doubles.values()], direction.double())
    errors = {"output": relative(y, y64)}
    errors |= {name: relative(a, b) for name, a, b in zip(("input", *weights), found, expected)}
    assert max(errors.values()) < tolerance, errors


def convolved(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """Causal depthwise convolution of (B, E, L) by (E, 1, W), tap by tap."""
    width, length = weight.shape[-1], x.shape[-1]
    known = F.pad(x, (width - 1, 0))
    return sum(known[..., k : k + length] * weight[:, 0, k, None] for k in range(width)) + bias[:, None]


def recurrence(
    u: torch.Tensor, delta: torch.Tensor, A: torch.Tensor, B: torch.Tensor, C: torch.Tensor, D: torch.Tensor
) -> torch.Tensor:
    """The scan of u, delta (B, E, L), A (E, N), B and C (B, N, L), D (E); step sizes are final."""
    h, out = u.new_zeros(*u.shape[:2], A.shape[1]), []
    for t in range(u.shape[-1]):
        dt = delta[..., t, None]
        h = torch.exp(dt * A) * h + dt * B[:, None, :, t] * u[..., t, None]
        out.append((h * C[:, None, :, t]).sum(-1) + D * u[..., t])
    return torch.stack(out, -1)


def direction(xz: torch.Tensor, weights: Weights, suffix: str = "") -> torch.Tensor:
    """A Mamba block between its projections, (B, 2E, L) to (B, E, L), with the weights of one direction."""
    x, z = xz.chunk(2, 1)
    x = F.silu(convolved(x, weights[f"conv1d{suffix}.weight"], weights[f"conv1d{suffix}.bias"]))
    rank, states = weights[f"dt_proj{suffix}.weight"].shape[1], weights[f"A{suffix}_log"].shape[1]
    dt, B, C = (weights[f"x_proj{suffix}.weight"] @ x).split([rank, states, states], 1)
    bias = weights[f"dt_proj{suffix}.bias"][:, None]
    delta = F.softplus(weights[f"dt_proj{suffix}.weight"] @ dt + bias)
    y = recurrence(x, delta, -weights[f"A{suffix}_log"].exp(), B, C, weights[f"D{suffix}"])
    return y * F.silu(z)


def mamba(x: torch.Tensor, weights: Weights, kind: str = "none", slices: int = 5) -> torch.Tensor:
    """A Mamba block (B, L, C), in the directions of a ``bimamba_type``."""
    xz = (x @ weights["in_proj.weight"].T).mT  # (B, 2E, L)
    y = direction(xz, weights)
    if kind == "v1":
        # the same convolved input, B, C and step sizes, backwards, with decays of its own
        u, z = xz.chunk(2, 1)
        u = F.silu(convolved(u, weights["conv1d.weight"], weights["conv1d.bias"]))
        rank, states = weights["dt_proj.weight"].shape[1], weights["A_log"].shape[1]
        dt, B, C = (weights["x_proj.weight"] @ u).split([rank, states, states], 1)
        delta = F.softplus(weights["dt_proj.weight"] @ dt + weights["dt_proj.bias"][:, None])
        backwards = (v.flip(-1) for v in (u, delta))
        u, delta = backwards
        back = recurrence(u, delta, -weights["A_b_log"].exp(), B.flip(-1), C.flip(-1), weights["D"])
        y = y + (back * F.silu(z.flip(-1))).flip(-1)
    if kind in ("v2", "v3"):
        y = y + direction(xz.flip(-1), weights, "_b").flip(-1)
    if kind == "v3":
        sliced = torch.stack(xz.chunk(slices, -1), -1).flatten(-2)
        out = direction(sliced, weights, "_s")
        y = y + out.unflatten(-1, (-1, slices)).transpose(-1, -2).flatten(-2)
    return y.mT @ weights["out_proj.weight"].T


def mamba2(
    x: torch.Tensor, weights: Weights, width: int, groups: int, gated: int = 0, norm_before_gate: bool = False
) -> torch.Tensor:
    """A Mamba-2 block (B, L, C): heads of ``width`` channels in ``groups``, and ``gated`` channels beside the scan."""
    heads = weights["A_log"].shape[0]
    inner = heads * width
    states = (weights["conv1d.weight"].shape[0] - inner) // groups // 2
    rows = x @ weights["in_proj.weight"].T
    z0, x0, z, xBC, dt = rows.split([gated, gated, inner, inner + 2 * groups * states, heads], -1)
    xBC = F.silu(convolved(xBC.mT, weights["conv1d.weight"], weights["conv1d.bias"])).mT
    u, B, C = xBC.split([inner, groups * states, groups * states], -1)
    u = u.unflatten(-1, (heads, width))
    B, C = (v.unflatten(-1, (groups, states)).repeat_interleave(heads // groups, 2) for v in (B, C))  # (B, L, H, N)
    dt, A = F.softplus(dt + weights["dt_bias"]), -weights["A_log"].exp()
    D = weights["D"].view(heads, -1)
    h, out = u.new_zeros(u.shape[0], heads, width, states), []
    for t in range(x.shape[1]):
        written = (dt[:, t, :, None] * u[:, t]).unsqueeze(-1) * B[:, t, :, None]
        h = torch.exp(dt[:, t] * A)[..., None, None] * h + written
        out.append((h * C[:, t, :, None]).sum(-1) + D * u[:, t])
    y = torch.stack(out, 1).flatten(2)
    y = y if norm_before_gate else y * F.silu(z)
    parts = y.unflatten(-1, (groups, -1))
    y = (parts * (parts.square().mean(-1, keepdim=True) + 1e-5).rsqrt()).flatten(-2) * weights["norm.weight"]
    y = y * F.silu(z) if norm_before_gate else y
    y = torch.cat([F.silu(z0) * x0, y], -1)
    return y @ weights["out_proj.weight"].T

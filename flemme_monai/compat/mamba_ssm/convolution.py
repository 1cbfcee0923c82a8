"""``causal_conv1d``: the depthwise convolution before a scan, over a sequence and step by step.

Glossary: B batch, L steps, E channels, W width of the kernel.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from .scans import refuse_packed

ACTIVATIONS = (None, "silu", "swish")


def _activated(x: torch.Tensor, activation: str | None) -> torch.Tensor:
    if activation not in ACTIVATIONS:
        raise NotImplementedError(f"causal_conv1d: activation is {activation!r}; expected None, 'silu' or 'swish'")
    return x if activation is None else F.silu(x)


def _convolve(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, padding: int) -> torch.Tensor:
    """(B, L + W - 1 - padding, E) to (B, L, E): as an image of one row, channels last, what oneDNN is fast at."""
    image = x.mT.unsqueeze(2)  # (B, E, 1, L)
    y = F.conv2d(image, weight[:, None, None], bias, padding=(0, padding), groups=weight.shape[0]).squeeze(2)
    return y[..., : y.shape[-1] - padding].mT


class _Convolution(torch.autograd.Function):
    """The convolution of tokens after zeros, whose gradients are a convolution and W sums: oneDNN's take longer."""

    @staticmethod
    def forward(ctx, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        ctx.save_for_backward(x, weight)
        ctx.has_bias = bias is not None
        return _convolve(x, weight, bias, weight.shape[1] - 1)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, dy: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
        x, weight = ctx.saved_tensors
        dy = dy.to(weight.dtype)
        length, last = x.shape[1], weight.shape[1] - 1
        after = F.pad(dy, (0, 0, 0, last))
        dx = _convolve(after, weight.flip(1), None, 0).to(x.dtype)
        delays = range(last, -1, -1)  # tap k sees the step `last - k` before
        taps = [(dy[:, delay:] * x[:, : max(0, length - delay)]).sum((0, 1)) for delay in delays]
        return dx, torch.stack(taps, 1).to(weight.dtype), dy.sum((0, 1)) if ctx.has_bias else None


def convolve_tokens(
    x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, before: torch.Tensor | None = None
) -> torch.Tensor:
    """Each channel's convolution with what it was up to now.

    Args:
        x: tokens (B, L, E).
        weight: (E, W).
        bias: (E), or None.
        before: the W - 1 tokens before (B, W - 1, E); None: zeros.

    Returns:
        (B, L, E).
    """
    if before is not None:
        return _convolve(torch.cat([before.to(x.dtype), x], 1), weight, bias, 0)
    if torch.is_grad_enabled() and x.device.type == "cpu" and not torch.jit.is_tracing():
        return _Convolution.apply(x, weight, bias)
    return _convolve(x, weight, bias, weight.shape[1] - 1)


def causal_conv1d_fn(
    x: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None = None,
    seq_idx: torch.Tensor | str | None = None,
    initial_states: torch.Tensor | None = None,
    return_final_states: bool = False,
    final_states_out: torch.Tensor | None = None,
    activation: str | None = None,
) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
    """Depthwise convolution of a step with those before it.

    Args:
        x: (B, E, L).
        weight: (E, W).
        bias: (E), or None.
        seq_idx: None; or the activation, which versions before 1.1 took here.
        initial_states: what was before (B, E, W - 1); None: zeros.
        return_final_states: whether the last W - 1 steps are returned too.
        final_states_out: where to write them, or None.
        activation: None, ``silu`` or ``swish``.

    Returns:
        (B, E, L) in the input's dtype; with ``return_final_states`` also (B, E, W - 1).

    Raises:
        NotImplementedError: If ``seq_idx`` marks packed sequences, or the activation is unknown.
    """
    if isinstance(seq_idx, str):
        seq_idx, activation = None, seq_idx
    refuse_packed("causal_conv1d_fn", seq_idx)
    before = None if initial_states is None else initial_states.mT
    rows = x.mT.to(weight.dtype)
    y = _activated(convolve_tokens(rows, weight, bias, before).mT, activation).to(x.dtype)
    if not return_final_states:
        return y
    known = x if initial_states is None else torch.cat([initial_states.to(x.dtype), x], -1)
    last = F.pad(known, (weight.shape[1] - 1 - known.shape[-1], 0))
    return y, last if final_states_out is None else final_states_out.copy_(last)


def causal_conv1d_update(
    x: torch.Tensor,
    conv_state: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None = None,
    activation: str | None = None,
) -> torch.Tensor:
    """The next steps of a convolution.

    Args:
        x: (B, E), or (B, E, L).
        conv_state: the steps before (B, E, at least W - 1); the new steps are pushed into it.
        weight: (E, W).
        bias: (E), or None.
        activation: None, ``silu`` or ``swish``.

    Returns:
        As ``x``.
    """
    steps = x.unsqueeze(-1) if x.ndim == 2 else x
    known = torch.cat([conv_state, steps.to(conv_state.dtype)], -1)
    conv_state.copy_(known[..., -conv_state.shape[-1] :])
    width, count = weight.shape[1], steps.shape[-1]
    windows = known[..., -(width - 1 + count) :].unfold(-1, width, 1)  # (B, E, L, W)
    y = (windows.to(weight.dtype) * weight.unsqueeze(1)).sum(-1)
    y = y if bias is None else y + bias.unsqueeze(-1)
    return _activated(y, activation).to(x.dtype).view(x.shape)

"""``causal_conv1d_cuda``: the convolution's two passes, as copies of ``mamba_ssm``'s interface call them.

Its arguments grew with its versions; what follows the tensors that all have is told by its number.
"""

from __future__ import annotations

import torch

from . import convolution

FIRST, LATER = 6, 7  # arguments of the backward pass up to version 1.0, and up to 1.1


def _name(activation: object) -> str | None:
    return "silu" if activation else None


def causal_conv1d_fwd(
    x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, *options: torch.Tensor | bool | None
) -> torch.Tensor:
    """The convolution (B, E, L).

    Args:
        x: (B, E, L).
        weight: (E, W).
        bias: (E), or None.
        options: ``activation``; or ``seq_idx, activation``; or ``seq_idx, initial_states, final_states_out,
            activation``: whether SiLU follows, at the end; the others must be None.

    Raises:
        NotImplementedError: If one of the others is given.
    """
    *others, activation = options
    if any(other is not None for other in others):
        raise NotImplementedError("causal_conv1d_fwd: states or seq_idx are given; expected None: they are not covered")
    y = convolution.causal_conv1d_fn(x, weight, bias, activation=_name(activation))
    assert isinstance(y, torch.Tensor), "no last state was asked for"
    return y


def causal_conv1d_bwd(
    x: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    dout: torch.Tensor,
    *options: torch.Tensor | bool | None,
) -> tuple[torch.Tensor | None, ...]:
    """Gradients of x, weight and bias, then None for the states before.

    Args:
        x, weight, bias: as :func:`causal_conv1d_fwd`.
        dout: the output's gradient (B, E, L).
        options: ``dx, activation``; or ``seq_idx, dx, activation``; or ``seq_idx, initial_states, dfinal_states, dx,
            return_dinitial_states, activation``: where to write the gradient of x, or None; the others must be None.
    """
    count = 4 + len(options)
    dx = options[0] if count == FIRST else options[1] if count == LATER else options[3]
    given = [v.detach().requires_grad_() for v in (x, weight, bias) if v is not None]
    with torch.enable_grad():
        y = causal_conv1d_fwd(given[0], given[1], given[2] if bias is not None else None, options[-1])
    found = list(torch.autograd.grad(y, given, dout))
    if isinstance(dx, torch.Tensor):
        found[0] = dx.copy_(found[0])
    return found[0], found[1], found[2] if bias is not None else None, None


def causal_conv1d_update(
    x: torch.Tensor,
    conv_state: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    activation: bool,
) -> torch.Tensor:
    """As ``causal_conv1d.causal_conv1d_update``."""
    return convolution.causal_conv1d_update(x, conv_state, weight, bias, _name(activation))

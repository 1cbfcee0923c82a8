"""The inputs of a scan, and the selective scan as its recurrence: to read, to test against, and to script.

No postponed annotations here, which TorchScript could not read in a named tuple.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F


class SelectiveScanInputs(NamedTuple):
    """The tensors of a selective scan (Mamba) of Z images, L steps, G groups of W channels, N states per channel.

    Attributes:
        u: input (Z, G, L, W).
        delta: step sizes (Z, G, L, W), before ``bias`` and softplus.
        A: diagonal of the state matrix (G, W, N), negative where the state decays.
        B: input matrix, from the input to the state: (Z, G, L, N).
        C: output matrix, from the state to the output: (Z, G, L, N).
        D: skip (G, W).
        bias: (G, W), added to delta.
    """

    u: torch.Tensor
    delta: torch.Tensor
    A: torch.Tensor
    B: torch.Tensor
    C: torch.Tensor
    D: torch.Tensor
    bias: torch.Tensor


class SSDInputs(NamedTuple):
    """The tensors of a scan of Mamba-2 of Z images, L steps, G groups of R heads of P channels, N states per channel.

    Attributes:
        x: input (Z, G, L, R, P).
        dt: step sizes (Z, G, L, R), before ``bias`` and softplus.
        A: state matrix, one number per head (G, R), negative where the state decays.
        B: input matrix, from the input to the state: (Z, G, L, N).
        C: output matrix, from the state to the output: (Z, G, L, N).
        D: skip (G, R).
        bias: (G, R), added to dt.
        initial_state: the state to begin with, (Z, G, N, R, P).
    """

    x: torch.Tensor
    dt: torch.Tensor
    A: torch.Tensor
    B: torch.Tensor
    C: torch.Tensor
    D: torch.Tensor
    bias: torch.Tensor
    initial_state: torch.Tensor


class ImageScanInputs(NamedTuple):
    """The tensors of a scan of Z images of L tokens of E channels in K orders, contiguous.

    Attributes:
        x: tokens (Z, L, E).
        rows: of each token and order (Z, L, K, R + 2N).
        dt_proj: (K, R, E).
        A: decays (K, N, E), or (K, 1, E).
        D: skip, the sum over the orders (E).
        bias: of the step sizes (K, E).
        order: the tokens in each order (K, L), int32.
    """

    x: torch.Tensor
    rows: torch.Tensor
    dt_proj: torch.Tensor
    A: torch.Tensor
    D: torch.Tensor
    bias: torch.Tensor
    order: torch.Tensor


def forward(
    inputs: SelectiveScanInputs, softplus: bool, first: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """h_t = exp(delta_t A) h_{t-1} + delta_t B_t u_t,  y_t = C_t h_t + D u_t (Gu and Dao 2023, eq. 2 and 4).

    A is discretised by a zero-order hold, B by Euler's method.

    Args:
        inputs: the tensors, of one dtype.
        softplus: whether delta, with its bias, goes through softplus.
        first: the state to begin with, (Z, G, W, N); None begins with zeros.

    Returns:
        y (Z, G, L, W), and the last state h (Z, G, W, N).
    """
    u, A, D = inputs.u, inputs.A, inputs.D
    delta = inputs.delta + inputs.bias.unsqueeze(1)
    if softplus:
        delta = F.softplus(delta)
    h = torch.zeros_like(u[:, :, 0]).unsqueeze(-1) * A if first is None else first
    out: list[torch.Tensor] = []
    rows = zip(u.unbind(2), delta.unbind(2), inputs.B.unbind(2), inputs.C.unbind(2))
    for u_t, delta_t, B_t, C_t in rows:  # (Z, G, W), (Z, G, W), (Z, G, N), (Z, G, N)
        step = delta_t.unsqueeze(-1)
        h = torch.exp(step * A) * h + step * u_t.unsqueeze(-1) * B_t.unsqueeze(2)
        out.append((h * C_t.unsqueeze(2)).sum(-1) + D * u_t)
    return torch.stack(out, 2), h

"""The scan of state space duality (SSD) in matrix products, several chunks at once (Dao and Gu 2024, section 6).

Inside a chunk the scan is attention with decays; from chunk to chunk a state is carried. The backward pass computes a
chunk's decays again, so that nothing of the square of a chunk is kept. Exponents are differences of float64 sums, at
most 0, so that any mix of step sizes is exact.

Glossary: Z images, L steps, G groups of R heads of P channels, N states, K chunks of T steps; h state, s sum of dt A
since the chunk began.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from .reference import SSDInputs

ENTRIES = 2**19  # of the decays that are held at once


@dataclass(frozen=True)
class _Chunks:
    """Quantities of the steps of K chunks that both passes share."""

    chunks: slice
    steps: slice
    x: torch.Tensor  # (Z, G, K, T, R, P)
    dt: torch.Tensor  # (Z, G, K, T, R)
    B: torch.Tensor  # (Z, G, K, T, N)
    C: torch.Tensor  # (Z, G, K, T, N)
    s: torch.Tensor  # (Z, G, K, T, R), float64

    @property
    def since(self) -> torch.Tensor:
        """exp(s_i): decay from a chunk's beginning to step i, (Z, G, K, T, R)."""
        return self.s.to(self.x.dtype).exp()

    @property
    def until(self) -> torch.Tensor:
        """exp(s_T - s_j): decay from step j to its chunk's end, (Z, G, K, T, R)."""
        return (self.s[..., -1:, :] - self.s).to(self.x.dtype).exp()

    @property
    def dt_rows(self) -> torch.Tensor:
        """dt of step j, beside whatever is of steps i and j, (Z, G, K, R, 1, T)."""
        return self.dt.mT.contiguous().unsqueeze(-2)

    def decay(self) -> torch.Tensor:
        """exp(s_i - s_j): decay from step j to a later step i, (Z, G, K, R, T, T)."""
        s = self.s.mT.contiguous()
        return (s.unsqueeze(-1) - s.unsqueeze(-2)).to(self.x.dtype).tril_().exp_().tril_()


def _cut(v: torch.Tensor, steps: slice, width: int) -> torch.Tensor:
    """Steps of (Z, G, L, ...) as (Z, G, K, T, ...), filled up with zeros."""
    v = v[:, :, steps]
    missing = -v.shape[2] % width
    if missing:
        v = torch.cat([v, v.new_zeros(*v.shape[:2], missing, *v.shape[3:])], 2)
    return v.unflatten(2, (-1, width))


def _joined(v: torch.Tensor, part: _Chunks) -> torch.Tensor:
    """(Z, G, K, T, ...) as (Z, G, steps, ...)."""
    return v.flatten(2, 3)[:, :, : part.steps.stop - part.steps.start]


def _parts(inputs: SSDInputs, dt: torch.Tensor, chunk: int) -> Iterator[_Chunks]:
    """The scan with its final step sizes ``dt`` in parts, the last first: few chunks where heads are many."""
    x, _, A, B, C, *_ = inputs
    images, groups, length, heads = dt.shape
    width = min(chunk, length)
    count = max(1, ENTRIES // (images * groups * heads * width**2))
    for first in reversed(range(0, -(-length // width), count)):
        steps = slice(first * width, min((first + count) * width, length))
        sizes = _cut(dt, steps, width)
        s = (sizes.double() * A[:, None, None].double()).cumsum(3)
        chunks = slice(first, first + sizes.shape[2])
        yield _Chunks(chunks, steps, _cut(x, steps, width), sizes, _cut(B, steps, width), _cut(C, steps, width), s)


def forward(inputs: SSDInputs, softplus: bool, chunk: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """h_t = exp(dt_t A) h_{t-1} + dt_t B_t x_t,  y_t = C_t h_t + D x_t, with one decay per head.

    Args:
        inputs: the tensors, of one dtype.
        softplus: whether dt, with its bias, goes through softplus.
        chunk: steps of a chunk.

    Returns:
        y (Z, G, L, R, P), the last state (Z, G, N, R, P), and the states before each chunk, (Z, G, chunks, N, R, P).
    """
    x, h = inputs.x, inputs.initial_state
    dt = inputs.dt + inputs.bias.unsqueeze(1)
    dt = F.softplus(dt) if softplus else dt
    y = (x * inputs.D[:, None, :, None]).contiguous()
    chunk_states = x.new_empty((*h.shape[:2], -(-x.shape[2] // min(chunk, x.shape[2])), *h.shape[2:]))
    for part in reversed(list(_parts(inputs, dt, chunk))):
        # what each chunk adds to the state, (Z, G, K, N, R, P)
        written = part.B.mT @ ((part.until * part.dt).unsqueeze(-1) * part.x).flatten(-2)
        written = written.unflatten(-1, x.shape[3:])
        since = part.since
        before = chunk_states[:, :, part.chunks]
        for k in range(before.shape[2]):
            before[:, :, k] = h
            h = torch.addcmul(written[:, :, k], h, since[:, :, k, -1].unsqueeze(-2).unsqueeze(-1))
        weights = part.decay().mul_((part.C @ part.B.mT).unsqueeze(3)).mul_(part.dt_rows)
        out = (weights @ part.x.transpose(3, 4)).transpose(3, 4)  # (Z, G, K, T, R, P)
        out = out + since.unsqueeze(-1) * (part.C @ before.flatten(-2)).view(out.shape)
        y[:, :, part.steps].add_(_joined(out, part))
    return y, h.clone(), chunk_states


def backward(
    inputs: SSDInputs, softplus: bool, chunk: int, chunk_states: torch.Tensor, dy: torch.Tensor, dlast: torch.Tensor
) -> SSDInputs:
    """The inputs' gradients, from :func:`forward`'s arguments and states, and those of output and last state."""
    x, dt, A, B, C, D, bias, _ = inputs
    raw = dt + bias.unsqueeze(1)
    dt = F.softplus(raw) if softplus else raw
    dx = torch.mul(dy, D[:, None, :, None], out=x.new_empty(x.shape))
    ddt, dB, dC = (v.new_empty(v.shape) for v in (dt, B, C))
    dA = torch.zeros_like(A, dtype=torch.float64)
    carry = dlast  # gradient of the state
    for part in _parts(inputs, dt, chunk):
        since, until = part.since, part.until
        kept = since[..., -1, :]  # decay over a chunk, (Z, G, K, R)
        h = chunk_states[:, :, part.chunks]
        gy = _cut(dy, part.steps, part.x.shape[3])  # (Z, G, K, T, R, P)
        # through the states: y = exp(s) C h, and h_{k+1} = kept h_k + B (until dt x)
        decayed = gy * since.unsqueeze(-1)
        sent = (part.C.mT @ decayed.flatten(-2)).view(h.shape)
        later = torch.empty_like(sent)  # gradient of the state after each chunk
        for k in reversed(range(sent.shape[2])):
            later[:, :, k] = carry
            carry = torch.addcmul(sent[:, :, k], carry, kept[:, :, k].unsqueeze(-2).unsqueeze(-1))
        into = (part.B @ later.flatten(-2)).view(gy.shape)
        weight = until * part.dt
        written = (into * part.x).sum(-1) * until
        spans = (written * part.dt).double()
        gdt = written
        gs = (decayed * (part.C @ h.flatten(-2)).view(gy.shape)).sum(-1).double() - spans  # gradient of s
        gs[..., -1, :] += spans.sum(-2) + kept * (later * h).sum((-3, -1))
        gB = (weight.unsqueeze(-1) * part.x).flatten(-2) @ later.flatten(-2).mT
        gC = decayed.flatten(-2) @ h.flatten(-2).mT
        # inside the chunk: y = (products decay dt) x, (Z, G, K, R, T, T)
        products = part.C @ part.B.mT
        decay = part.decay()
        rows, gy = part.x.transpose(3, 4), gy.transpose(3, 4)  # (Z, G, K, R, T, P)
        pairs = (gy @ rows.mT).mul_(decay)
        decay.mul_(products.unsqueeze(3)).mul_(part.dt_rows)
        gx = (decay.mT @ gy).transpose(3, 4) + weight.unsqueeze(-1) * into
        gdt = gdt + (pairs * products.unsqueeze(3)).sum(-2).mT
        pairs.mul_(part.dt_rows)
        gproducts = pairs.sum(3)
        gB += gproducts.mT @ part.C
        gC += gproducts @ part.B
        # an exponent s_i - s_j spans the steps after j and up to i
        pairs.mul_(products.unsqueeze(3))
        gs += (pairs.sum(-1, dtype=torch.float64) - pairs.sum(-2, dtype=torch.float64)).mT
        exponent = gs.flip(3).cumsum(3).flip(3)  # gradient of dt A at every step
        dA += (exponent * part.dt).sum((0, 2, 3))
        gdt = gdt + exponent.to(x.dtype) * A[:, None, None]
        dx[:, :, part.steps].add_(_joined(gx, part))
        for gradient, v in (ddt, gdt), (dB, gB), (dC, gC):
            gradient[:, :, part.steps] = _joined(v, part)
    if softplus:
        ddt *= torch.sigmoid(raw)
    dD = (dy * x).sum((0, 2, 4))
    return SSDInputs(dx, ddt, dA.to(A.dtype), dB, dC, dD, ddt.sum((0, 2)), carry.clone())

"""The selective scan in PyTorch operations: any device, chunk by chunk, one fused step at a time.

All lanes (images, groups, states, channels) take a step at once, in place, in time-first buffers. Where they are few, a
chunk is cut into runs which take their steps together, and the states are then carried from run to run. The forward
pass keeps the states at chunk borders only; the backward pass computes the inside of a chunk again. Decays are
products of numbers up to 1, and nothing is divided by them, so that any delta is exact.

Glossary: Z images, L steps, G groups of W channels, N states per channel, T steps of a chunk in K runs of S steps;
h state, a = exp(delta A).
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F

from .reference import SelectiveScanInputs

LOG2_E = 1 / math.log(2)
FEW_LANES = 2**14


def chunk_of(A: torch.Tensor) -> int:
    """Steps of a chunk for A (G, W, N): a square number, larger where lanes are few."""
    return 256 if A.numel() <= 4096 else 64


class _Chunks:
    """One scan's inputs, and buffers for a chunk of it. The last chunk is filled up with steps of size 0."""

    def __init__(self, inputs: SelectiveScanInputs, softplus: bool) -> None:
        u, A = inputs.u, inputs.A
        images, groups, length, width = u.shape
        self.raw = inputs.delta + inputs.bias.unsqueeze(1)
        self.dt = F.softplus(self.raw) if softplus else self.raw
        self.u = u
        self.A = (A.transpose(1, 2) * LOG2_E).contiguous()  # (G, N, W)
        self.B = inputs.B
        chunk = chunk_of(A)
        self.steps = min(chunk, length)
        self.starts = range(0, length, chunk)
        lanes = (images, groups, A.shape[2], width)
        self.runs = math.isqrt(chunk) if length >= chunk and math.prod(lanes) < FEW_LANES else 1
        self.a, self.h = u.new_empty((self.steps, *lanes)), u.new_empty((self.steps, *lanes))
        # views, which cost as much as a step, are made once
        a, h = self.by_step(self.a), self.by_step(self.h)  # (K, S, Z, G, N, W)
        self.decays, self.states, self.ends = a.unbind(1), h.unbind(1), h[:, -1].unbind(0)
        self.earlier, self.later = a[:-1].unbind(1), a[1:].unbind(1)  # decays of all runs but the last, but the first
        self.between = torch.empty_like(a[1:])
        self.products = self.between.unbind(1)

    def by_step(self, x: torch.Tensor) -> torch.Tensor:
        """(T, ...) as (K, S, ...)."""
        return x.unflatten(0, (self.runs, -1))

    def slice(self, x: torch.Tensor, start: int) -> torch.Tensor:
        """A chunk of (Z, G, L, X) as (T, Z, G, X)."""
        x = x[:, :, start : start + self.steps].permute(2, 0, 1, 3)
        missing = self.steps - len(x)
        return F.pad(x, (0, 0, 0, 0, 0, 0, 0, missing)) if missing else x.contiguous()

    def rows(self, x: torch.Tensor, start: int) -> torch.Tensor:
        """A chunk of (Z, G, L, W) as (T, Z, G, 1, W)."""
        return self.slice(x, start).unsqueeze(-2)

    def columns(self, x: torch.Tensor, start: int) -> torch.Tensor:
        """A chunk of (Z, G, L, N) as (T, Z, G, N, 1)."""
        return self.slice(x, start).unsqueeze(-1)

    def unrolled(self, start: int, state: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Compute decays and states of a chunk that begins after ``state``.

        Returns:
            Its dt and u (T, Z, G, 1, W), and its B (T, Z, G, N, 1).
        """
        dt, u, B = self.rows(self.dt, start), self.rows(self.u, start), self.columns(self.B, start)
        torch.exp2(torch.mul(dt, self.A, out=self.a), out=self.a)
        torch.mul(dt * u, B, out=self.h)
        self.h[0].addcmul_(self.a[0], state)
        for before, decay, new in zip(self.states, self.decays[1:], self.states[1:]):
            new.addcmul_(decay, before)
        if self.runs > 1:
            since = self.between  # decays since the end of the run before, (K - 1, S, Z, G, N, W)
            self.products[0].copy_(self.later[0])
            for before, decay, product in zip(self.products, self.later[1:], self.products[1:]):
                torch.mul(before, decay, out=product)
            for before, decay, end in zip(self.ends, since[:, -1].unbind(0), self.ends[1:]):
                end.addcmul_(decay, before)
            h = self.by_step(self.h)
            h[1:, :-1].addcmul_(since[:, :-1], h[:-1, -1:])
        return dt, u, B


def forward(inputs: SelectiveScanInputs, softplus: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """As :func:`.reference.forward`, beginning with zeros.

    Returns:
        The output (Z, G, L, W), and the states before each chunk and after the last, (Z, G, chunks + 1, N, W).
    """
    u, C = inputs.u, inputs.C
    chunks = _Chunks(inputs, softplus)
    y = (u * inputs.D.unsqueeze(1)).contiguous()
    images, groups, _, width = u.shape
    chunk_states = u.new_zeros(images, groups, len(chunks.starts) + 1, inputs.A.shape[2], width)
    for i, start in enumerate(chunks.starts):
        chunks.unrolled(start, chunk_states[:, :, i])
        chunk_states[:, :, i + 1] = chunks.h[-1]
        out = (chunks.columns(C, start).mT @ chunks.h).squeeze(-2).permute(1, 2, 0, 3)  # (Z, G, T, W)
        part = y[:, :, start : start + chunks.steps]
        part.add_(out[:, :, : part.shape[2]])
    return y, chunk_states


def backward(
    inputs: SelectiveScanInputs, softplus: bool, chunk_states: torch.Tensor, dy: torch.Tensor
) -> SelectiveScanInputs:
    """The inputs' gradients, from :func:`forward`'s arguments and states and the output's gradient ``dy``."""
    u, delta, _, B, C, D, _ = inputs
    chunks = _Chunks(inputs, softplus)
    a, h, g = chunks.a, chunks.h, torch.empty_like(chunks.h)
    du = torch.mul(dy, D.unsqueeze(1), out=u.new_empty(u.shape))
    ddelta, dB, dC = (x.new_empty(x.shape) for x in (delta, B, C))
    dA = torch.zeros_like(chunks.A)
    later = torch.zeros_like(chunk_states[:, :, 0])
    by_step = chunks.by_step(g)
    gradients, firsts = by_step.unbind(1), by_step[:, 0].unbind(0)
    for i, start in reversed(list(enumerate(chunks.starts))):
        before = chunk_states[:, :, i]
        dt, x, b = chunks.unrolled(start, before)
        gy = chunks.rows(dy, start)
        # gradient of the states: g_t = C_t dy_t + a_{t+1} g_{t+1}
        torch.mul(chunks.columns(C, start), gy, out=g)
        g[-1].add_(later)
        for s in range(len(gradients) - 2, -1, -1):
            gradients[s].addcmul_(chunks.decays[s + 1], gradients[s + 1])
        if chunks.runs > 1:
            until = chunks.between  # decays until the beginning of the next run
            chunks.products[-1].copy_(chunks.later[0])
            for s in range(len(gradients) - 2, -1, -1):
                torch.mul(chunks.products[s + 1], chunks.earlier[s + 1], out=chunks.products[s])
            for k in range(chunks.runs - 2, -1, -1):
                firsts[k].addcmul_(until[k, 0], firsts[k + 1])
            by_step[:-1, 1:].addcmul_(until[:, 1:], by_step[1:, :1])
        later = a[0] * g[0]
        part = slice(start, min(start + chunks.steps, u.shape[2]))
        there = slice(0, part.stop - start)
        dC[:, :, part] = (h @ gy.mT).squeeze(-1).permute(1, 2, 0, 3)[:, :, there]
        dB[:, :, part] = (g @ (dt * x).mT).squeeze(-1).permute(1, 2, 0, 3)[:, :, there]
        gx = b.mT @ g  # (T, Z, G, 1, W)
        # gradient of the exponent delta A: g_t h_{t-1} a_t
        g[1:].mul_(h[:-1])
        g[0].mul_(before)
        g.mul_(a)
        dA += torch.mul(g, dt, out=a).sum((0, 1))
        gdt = torch.mul(g, chunks.A, out=h).sum(-2, keepdim=True) / LOG2_E
        gdt += gx * x
        du[:, :, part].add_((gx * dt).squeeze(-2).permute(1, 2, 0, 3)[:, :, there])
        ddelta[:, :, part] = gdt.squeeze(-2).permute(1, 2, 0, 3)[:, :, there]
    if softplus:
        ddelta *= torch.sigmoid(chunks.raw)
    dA, dD, dbias = dA.transpose(1, 2).contiguous(), (dy * u).sum((0, 2)), ddelta.sum((0, 2))
    return SelectiveScanInputs(du, ddelta, dA, dB, dC, dD, dbias)

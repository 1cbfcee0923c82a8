"""The selective scan as one loop of a program without Python: traced, exported, or one node that ONNX translates."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch._higher_order_ops import scan

from . import reference
from .reference import SelectiveScanInputs

_whole = ContextVar("whole", default=False)


@contextmanager
def whole_nodes() -> Iterator[None]:
    """While exporting: scans and index tables stay one node each, for an exporter that has translations of them."""
    token = _whole.set(True)
    try:
        yield
    finally:
        _whole.reset(token)


def are_nodes_whole() -> bool:
    """Whether the program that is exported keeps scans and index tables as one node each."""
    return torch.compiler.is_exporting() and _whole.get()


@torch.library.custom_op("flemme_monai::exported_scan", mutates_args=())
def _node(
    u: torch.Tensor,
    delta: torch.Tensor,
    A: torch.Tensor,
    B: torch.Tensor,
    C: torch.Tensor,
    first: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """As :func:`.reference.forward` without its skip, bias and softplus; ``delta`` is the step size."""
    zero = torch.zeros_like(A[:, :, 0])
    return reference.forward(SelectiveScanInputs(u, delta, A, B, C, zero, zero), False, first)


@_node.register_fake
def _(u, delta, A, B, C, first):
    return u.new_empty(u.shape), first.new_empty(first.shape)


def forward(
    inputs: SelectiveScanInputs, softplus: bool, first: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """As :func:`.reference.forward`; ``torch.export`` and ONNX keep the loop."""
    u, A, B, C = inputs.u, inputs.A, inputs.B, inputs.C
    dt = inputs.delta + inputs.bias.unsqueeze(1)
    if softplus:
        dt = F.softplus(dt)

    def step(h: torch.Tensor, row: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, torch.Tensor]:
        dt_t, x_t, B_t, C_t = row  # (Z, G, W), (Z, G, W), (Z, G, N), (Z, G, N)
        h = torch.exp(dt_t.unsqueeze(-1) * A) * h + x_t.unsqueeze(-1) * B_t.unsqueeze(2)
        return h, (h * C_t.unsqueeze(2)).sum(-1)

    if first is None:
        first = u.new_zeros(*u.shape[:2], *A.shape[1:])
    if are_nodes_whole():
        y, last = _node(u, dt, A, B, C, first)
    else:
        rows = tuple(x.permute(2, 0, 1, 3) for x in (dt, dt * u, B, C))
        last, y = scan(step, first, rows)
        y = y.permute(1, 2, 0, 3)
    return y + inputs.D.unsqueeze(1) * u, last


def traced_forward(
    inputs: SelectiveScanInputs, softplus: bool, first: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """As :func:`.reference.forward`; ``torch.jit.trace`` keeps the loop, which is a script."""
    return _script()(list(inputs), softplus, first)


@lru_cache(maxsize=1)
def _script() -> Callable:
    return torch.jit.script(_of_list)


def _of_list(
    tensors: list[torch.Tensor], softplus: bool, first: torch.Tensor | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """A trace hands a list to a script, and no named tuple."""
    u, delta, A, B, C, D, bias = tensors
    return reference.forward(SelectiveScanInputs(u, delta, A, B, C, D, bias), softplus, first)

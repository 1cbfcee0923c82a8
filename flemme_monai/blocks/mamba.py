"""Vision Mamba blocks: selective scans over an image (Gu and Dao 2023; VMamba, Liu et al. 2024).

Along each order of the tokens, h_t = exp(dt_t A) h_{t-1} + dt_t B_t x_t and y_t = C_t h_t + D x_t: the continuous
h' = A h + B x by a zero-order hold for A (exact for a constant input) and Euler's method for B, as in Mamba's code.

Glossary: B batch, C channels, E inner channels, s size of the feature along each axis, L tokens (the product of s),
K orders of the scan, N states per channel, R rank of the step sizes, H heads of P channels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

import torch
import torch.nn.functional as F
from monai.networks.layers.factories import Conv
from torch import nn

from ..ops import (
    SelectiveScanInputs,
    SSDInputs,
    grouped_selective_scan,
    grouped_ssd_scan,
    image_scan,
    image_scan_chosen,
    prepare_scans,
)
from .layers import Linear
from .scan_order import gather_by_order, gather_tokens, merge_scans, scan_tables


def _step_bias(shape: tuple[int, ...], dt_range: Sequence[float]) -> torch.Tensor:
    """Initial bias of the step sizes: softplus of it is log-uniform over ``dt_range``, and at least 1e-4."""
    low, high = (math.log(value) for value in dt_range)
    dt = torch.empty(shape).uniform_(low, high).exp().clamp_min(1e-4)
    return dt + torch.log(-torch.expm1(-dt))


def _upcast(x: torch.Tensor) -> torch.Tensor:
    """At least float32: what a scan computes in."""
    return x if x.dtype == torch.float64 else x.float()


class SelectiveScan(nn.Module):
    """S6: step sizes, B and C are linear maps of the token, decays are learnt per channel and state (Gu and Dao 2023).

    Args:
        channels: number of inner channels E.
        orders: number of orders K.
        state_size: states per channel N.
        dt_rank: rank R of the map to the step sizes.
        dt_range: smallest and largest step size at the start.
    """

    no_weight_decay: ClassVar[tuple[str, ...]] = ("A_log", "D", "dt_bias")

    def __init__(
        self, channels: int, orders: int, state_size: int, dt_rank: int, dt_range: Sequence[float] = (0.001, 0.1)
    ) -> None:
        super().__init__()
        prepare_scans()
        self.sizes = [dt_rank, state_size, state_size]
        self.x_proj = Linear(channels, orders * sum(self.sizes), bias=False)
        self.dt_proj = nn.Parameter(torch.empty(orders, dt_rank, channels).uniform_(-(dt_rank**-0.5), dt_rank**-0.5))
        self.dt_bias = nn.Parameter(_step_bias((orders, channels), dt_range))
        self.A_log = nn.Parameter(torch.arange(1.0, state_size + 1).log().repeat(orders, channels, 1))
        self.D = nn.Parameter(torch.ones(orders, channels))

    def forward(self, x: torch.Tensor, orders: torch.Tensor, inverses: torch.Tensor) -> torch.Tensor:
        """Tokens ``x`` (B, L, E) scanned in ``orders`` (K, L), with their inverses: (B, L, E), all orders added."""
        rows = self.x_proj(x).unflatten(-1, (orders.shape[0], -1))  # (B, L, K, R + 2N)
        A, D, bias = -_upcast(self.A_log).exp(), _upcast(self.D), _upcast(self.dt_bias)
        if not torch.jit.is_scripting():  # noqa: SIM102 (what is nested is no part of a script)
            if image_scan_chosen(x):
                return image_scan(_upcast(x), _upcast(rows), _upcast(self.dt_proj), A, D, bias, orders)
        dt, b, c = gather_by_order(rows, orders).split(self.sizes, -1)  # (B, K, L, R), (B, K, L, N) twice
        inputs = SelectiveScanInputs(
            u=_upcast(gather_tokens(x, orders)),
            delta=_upcast(dt @ self.dt_proj),
            A=A,
            B=_upcast(b),
            C=_upcast(c),
            D=D,
            bias=bias,
        )
        return merge_scans(grouped_selective_scan(inputs, softplus=True), inverses)


class StateSpaceDuality(nn.Module):
    """SSD, the scan of Mamba-2: step sizes and decays are shared by the channels of a head (Dao and Gu 2024).

    Args:
        channels: number of inner channels E.
        orders: number of orders K.
        state_size: states per channel N.
        head_width: channels per head P; must divide ``channels``.
        dt_range: smallest and largest step size at the start.
        learn_initial_state: whether the state before the first token is learned, per order, head and channel; else 0.

    Raises:
        ValueError: If the heads do not fill the channels.
    """

    no_weight_decay: ClassVar[tuple[str, ...]] = ("A_log", "D", "dt_bias")

    def __init__(
        self,
        channels: int,
        orders: int,
        state_size: int,
        head_width: int,
        dt_range: Sequence[float] = (0.001, 0.1),
        learn_initial_state: bool = False,
    ) -> None:
        super().__init__()
        if channels % head_width:
            raise ValueError(
                f"mamba2: head_width is {head_width}; expected a divisor of the {channels} inner channels."
            )
        heads = channels // head_width
        self.head_width = head_width
        self.sizes = [heads, state_size, state_size]
        self.x_proj = Linear(channels, orders * sum(self.sizes), bias=False)
        self.dt_bias = nn.Parameter(_step_bias((orders, heads), dt_range))
        self.A_log = nn.Parameter(torch.empty(orders, heads).uniform_(1, 16).log())
        self.D = nn.Parameter(torch.ones(orders, heads))
        self.initial_state: nn.Parameter | None = None
        if learn_initial_state:
            self.initial_state = nn.Parameter(torch.zeros(orders, state_size, heads, head_width))

    def forward(self, x: torch.Tensor, orders: torch.Tensor, inverses: torch.Tensor) -> torch.Tensor:
        """Tokens ``x`` (B, L, E) scanned in ``orders`` (K, L), with their inverses: (B, L, E), all orders added."""
        rows = self.x_proj(x).unflatten(-1, (orders.shape[0], -1))  # (B, L, K, H + 2N)
        if not torch.jit.is_scripting():  # noqa: SIM102 (what is nested is no part of a script)
            if self.initial_state is None and image_scan_chosen(x):
                return self._image_scan(x, rows, orders)
        dt, b, c = gather_by_order(rows, orders).split(self.sizes, -1)  # (B, K, L, H), (B, K, L, N) twice
        images, count, heads = x.shape[0], orders.shape[0], self.sizes[0]
        state = x.new_zeros([images, count, self.sizes[1], heads, self.head_width])
        learned = self.initial_state
        if learned is not None:
            state = state + learned  # (K, N, H, P) for every image
        inputs = SSDInputs(
            x=_upcast(gather_tokens(x, orders).unflatten(-1, (heads, -1))),  # (B, K, L, H, P)
            dt=_upcast(dt),
            A=-_upcast(self.A_log).exp(),
            B=_upcast(b),
            C=_upcast(c),
            D=_upcast(self.D),
            bias=_upcast(self.dt_bias),
            initial_state=_upcast(state),
        )
        return merge_scans(grouped_ssd_scan(inputs, softplus=True).flatten(3), inverses)

    @torch.jit.unused
    def _image_scan(self, x: torch.Tensor, rows: torch.Tensor, orders: torch.Tensor) -> torch.Tensor:
        """The scan of every channel with what its head has: step sizes of "rank" H, one decay."""
        heads = self.sizes[0]
        A, D, bias = (
            v.repeat_interleave(self.head_width, 1)  # (K, H) -> (K, E)
            for v in (-_upcast(self.A_log).exp(), _upcast(self.D), _upcast(self.dt_bias))
        )
        of_head = torch.eye(heads).repeat_interleave(self.head_width, 1).expand(orders.shape[0], -1, -1)  # (K, H, E)
        return image_scan(_upcast(x), _upcast(rows), of_head, A.unsqueeze(-1), D, bias, orders)


class MambaMixer(nn.Module):
    """Token mixer: scans in several orders (VMamba's SS2D, in 2D and 3D).

    Args:
        spatial_dims: 2 or 3.
        channels: number of channels C.
        inner: number of inner channels E.
        scan: a scan in K orders, as :class:`SelectiveScan` or :class:`StateSpaceDuality`.
        kernel_size: of the depthwise convolution.
        order: name of the orders, see :func:`.scan_orders`.
        flip: whether each order is walked backwards too.
    """

    def __init__(
        self,
        spatial_dims: int,
        channels: int,
        inner: int,
        scan: nn.Module,
        kernel_size: int = 3,
        order: str = "cross",
        flip: bool = True,
    ) -> None:
        super().__init__()
        self.order, self.flip = order, flip
        self.in_proj = Linear(channels, 2 * inner)
        self.conv = Conv["conv", spatial_dims](inner, inner, kernel_size, padding=kernel_size // 2, groups=inner)
        self.scan = scan
        self.norm = nn.LayerNorm(inner)
        self.out_proj = Linear(inner, channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Mix the positions of ``x`` (B, *s, C)."""
        size = list(x.shape[1:-1])
        x, z = self.in_proj(x).chunk(2, -1)  # (B, *s, E) each
        x = F.silu(self.conv(x.movedim(-1, 1))).movedim(1, -1)
        orders, inverses = scan_tables(size, self.order, self.flip, x.device)
        y = self.scan(x.flatten(1, -2), orders, inverses).to(self.out_proj.weight.dtype)  # (B, L, E)
        return self.out_proj(self.norm(y).view(z.shape) * F.silu(z))

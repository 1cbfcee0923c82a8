"""Vision Mamba blocks: selective scans over an image (Gu and Dao 2023; VMamba, Liu et al. 2024).

Glossary: B batch, C channels, E inner channels, s size of the feature along each axis, L tokens (the product of s),
K orders of the scan, N states a channel, R rank of the step sizes, H heads of P channels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

import torch
import torch.nn.functional as F
from monai.networks.layers.factories import Conv
from torch import nn

from ..ops import SelectiveScanInputs, SSDInputs, prepare_scans, scan_rows, ssd_rows
from .layers import Linear
from .scan_order import merge_scans, scan_image, scan_rows_of, scan_tables


def _step_bias(shape: tuple[int, ...], dt_range: Sequence[float]) -> torch.Tensor:
    """What softplus turns into step sizes spread log-uniformly over a range."""
    low, high = (math.log(value) for value in dt_range)
    dt = torch.empty(shape).uniform_(low, high).exp().clamp_min(1e-4)
    return dt + torch.log(-torch.expm1(-dt))


def _wide(x: torch.Tensor) -> torch.Tensor:
    """At least float32: what a scan computes in."""
    return x if x.dtype == torch.float64 else x.float()


class SelectiveScan(nn.Module):
    """S6: step sizes, B and C are linear maps of the token, decays are learnt a channel and state (Gu and Dao 2023).

    Args:
        channels: number of inner channels E.
        orders: number of orders K.
        state_size: states a channel N.
        dt_rank: rank R of the map to the step sizes.
        dt_range: smallest and largest step size at the start.
    """

    undecayed: ClassVar[tuple[str, ...]] = ("A_log", "D", "dt_bias")

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

    def forward(self, x: torch.Tensor, orders: torch.Tensor) -> torch.Tensor:
        """Tokens ``x`` (B, L, E) scanned in ``orders`` (K, L): (B, K, L, E), tokens in each scan's order."""
        rows = self.x_proj(x).unflatten(-1, (orders.shape[0], -1))  # (B, L, K, R + 2N)
        dt, b, c = scan_rows_of(rows, orders).split(self.sizes, -1)  # (B, K, L, R), (B, K, L, N) twice
        inputs = SelectiveScanInputs(
            u=_wide(scan_image(x, orders)),
            delta=_wide(dt @ self.dt_proj),
            A=-_wide(self.A_log).exp(),
            B=_wide(b),
            C=_wide(c),
            D=_wide(self.D),
            bias=_wide(self.dt_bias),
        )
        return scan_rows(inputs, softplus=True)


class StateSpaceDuality(nn.Module):
    """SSD, the scan of Mamba-2: step sizes and decays are shared by the channels of a head (Dao and Gu 2024).

    Args:
        channels: number of inner channels E.
        orders: number of orders K.
        state_size: states a channel N.
        head_width: channels of a head P; must divide ``channels``.
        dt_range: smallest and largest step size at the start.

    Raises:
        ValueError: when the heads do not fill the channels.
    """

    undecayed: ClassVar[tuple[str, ...]] = ("A_log", "D", "dt_bias")

    def __init__(
        self, channels: int, orders: int, state_size: int, head_width: int, dt_range: Sequence[float] = (0.001, 0.1)
    ) -> None:
        super().__init__()
        if channels % head_width:
            raise ValueError(f"mamba2: head_width={head_width} does not divide the {channels} inner channels")
        heads = channels // head_width
        self.head_width = head_width
        self.sizes = [heads, state_size, state_size]
        self.x_proj = Linear(channels, orders * sum(self.sizes), bias=False)
        self.dt_bias = nn.Parameter(_step_bias((orders, heads), dt_range))
        self.A_log = nn.Parameter(torch.empty(orders, heads).uniform_(1, 16).log())
        self.D = nn.Parameter(torch.ones(orders, heads))

    def forward(self, x: torch.Tensor, orders: torch.Tensor) -> torch.Tensor:
        """Tokens ``x`` (B, L, E) scanned in ``orders`` (K, L): (B, K, L, E), tokens in each scan's order."""
        rows = self.x_proj(x).unflatten(-1, (orders.shape[0], -1))  # (B, L, K, H + 2N)
        dt, b, c = scan_rows_of(rows, orders).split(self.sizes, -1)  # (B, K, L, H), (B, K, L, N) twice
        images, count, heads = x.shape[0], orders.shape[0], self.sizes[0]
        inputs = SSDInputs(
            x=_wide(scan_image(x, orders).unflatten(-1, (heads, -1))),  # (B, K, L, H, P)
            dt=_wide(dt),
            A=-_wide(self.A_log).exp(),
            B=_wide(b),
            C=_wide(c),
            D=_wide(self.D),
            bias=_wide(self.dt_bias),
            initial_state=_wide(x.new_zeros([images, count, self.sizes[1], heads, self.head_width])),
        )
        return ssd_rows(inputs, softplus=True).flatten(3)


class MambaMixer(nn.Module):
    """Mixes the positions of an image by scans in several orders (VMamba's SS2D, in 2D and 3D).

    Args:
        spatial_dims: 2 or 3.
        channels: number of channels C.
        inner: number of inner channels E.
        core: a scan in K orders, as :class:`SelectiveScan` or :class:`StateSpaceDuality`.
        kernel_size: of the depthwise convolution.
        scan: the orders, see :func:`.scan_orders`.
        flip: whether each order is walked backwards too.
    """

    def __init__(
        self,
        spatial_dims: int,
        channels: int,
        inner: int,
        core: nn.Module,
        kernel_size: int = 3,
        scan: str = "cross",
        flip: bool = True,
    ) -> None:
        super().__init__()
        self.scan, self.flip = scan, flip
        self.in_proj = Linear(channels, 2 * inner)
        self.conv = Conv["conv", spatial_dims](inner, inner, kernel_size, padding=kernel_size // 2, groups=inner)
        self.core = core
        self.norm = nn.LayerNorm(inner)
        self.out_proj = Linear(inner, channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Mix the positions of ``x`` (B, *s, C)."""
        size = list(x.shape[1:-1])
        x, z = self.in_proj(x).chunk(2, -1)  # (B, *s, E) each
        x = F.silu(self.conv(x.movedim(-1, 1))).movedim(1, -1)
        orders, inverses = scan_tables(size, self.scan, self.flip, x.device)
        y = merge_scans(self.core(x.flatten(1, -2), orders), inverses).to(self.out_proj.weight.dtype)  # (B, L, E)
        return self.out_proj(self.norm(y).view(z.shape) * F.silu(z))

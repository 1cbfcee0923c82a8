"""Shifted-window attention in 2D and 3D (Swin Transformer, Liu et al. 2021), for features of any size.

Glossary: B batch, C channels, s size of the feature along each axis, w window along each axis, N tokens of a window
(the product of w), M windows of a feature, h heads.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import nn

from ..ops.exported import are_nodes_whole
from .layers import Linear
from .metaformer import MetaFormerBlock


def window_partition(x: torch.Tensor, window: list[int]) -> torch.Tensor:
    """Cut ``x`` (B, *s, C), whose size the window divides, into windows (B, M, N, C)."""
    batch, channels = x.shape[0], x.shape[-1]
    dims = len(window)
    shape = [batch]
    for n, w in zip(x.shape[1:-1], window):
        shape += [n // w, w]
    order = [0] + [1 + 2 * i for i in range(dims)] + [2 + 2 * i for i in range(dims)] + [2 * dims + 1]
    tokens = 1
    for w in window:
        tokens *= w
    # (B, s1/w1, w1, s2/w2, w2, ..., C) -> (B, s1/w1, s2/w2, ..., w1, w2, ..., C) -> (B, M, N, C)
    return x.reshape(shape + [channels]).permute(order).reshape(batch, -1, tokens, channels)


def window_merge(windows: torch.Tensor, window: list[int], size: list[int]) -> torch.Tensor:
    """Put windows (B, M, N, C) together into a feature (B, *size, C); the inverse of :func:`window_partition`."""
    batch, channels = windows.shape[0], windows.shape[-1]
    dims = len(window)
    shape = [batch] + [n // w for n, w in zip(size, window)] + window + [channels]
    order = [0]
    for i in range(dims):
        order += [1 + i, 1 + dims + i]
    return windows.reshape(shape).permute(order + [2 * dims + 1]).reshape([batch] + size + [channels])


def attention_regions(
    size: list[int], padded: list[int], window: list[int], shift: list[int], device: torch.device
) -> torch.Tensor:
    """For each window, which tokens are neighbours in the image: tokens attend only within their region.

    The cyclic shift brings opposite borders into one window, and padding adds tokens that no image token may see
    (Liu et al. 2021, figure 4, extended to sizes that the window does not divide).

    Args:
        size: size of the feature along each axis.
        padded: the same after padding to a multiple of the window.
        window: window along each axis.
        shift: cyclic shift along each axis.
        device: where the result is made.

    Returns:
        region number of each token (M, N).
    """
    region = torch.zeros([1] + [1] * len(size) + [1], dtype=torch.long, device=device)
    for axis in range(len(size)):
        position = torch.arange(padded[axis], device=device)
        # after the roll by -shift, place p holds the token of position (p + shift) modulo the padded size
        label = (position >= padded[axis] - window[axis]).long() + (position >= padded[axis] - shift[axis]).long()
        source = (position + shift[axis]) % padded[axis]
        label = torch.where(source >= size[axis], torch.full_like(label, 3), label)
        view = [1] * (len(size) + 2)
        view[1 + axis] = padded[axis]
        region = region * 4 + label.view(view)
    return window_partition(region, window)[0, :, :, 0]


def window_tables(
    size: list[int], window: list[int], shifted: bool, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Shifted windows as tables, for exported programs, whose sizes are symbols: nothing branches on a size.

    An axis shorter than a window is one padded window, whose padding no token sees: the same as a window cut short.

    Args:
        size: size of the feature along each axis.
        window: window along each axis.
        shifted: whether windows are shifted by half their size along the axes that have several.
        device: where the result is made.

    Returns:
        for each window its tokens' numbers (M, N), padding repeats a border; for each token of the feature its place
        among the windows' tokens (L); the region number of each window's tokens (M, N).
    """
    dims = len(size)
    tokens = torch.zeros([1] * (2 * dims), dtype=torch.long, device=device)  # (m1, m2, ..., w1, w2, ...)
    regions = torch.zeros_like(tokens)
    blocks = torch.zeros([1] * dims, dtype=torch.long, device=device)  # (s1, s2, ...)
    inside = torch.zeros_like(blocks)
    for axis, (n, w) in enumerate(zip(size, window)):
        number = torch.arange((n + w - 1) // w, device=device)[:, None]
        position = torch.arange(n, device=device)
        last, border = number[-1:], position[-1:]  # tensors: exporters take no symbol in place of a number
        shift = (last > 0) * (w // 2 if shifted else 0)  # 0 where there is one window
        padded = (last + 1) * w
        place = number * w + torch.arange(w, device=device)  # (m, w)
        source = (place + shift) % padded
        label = (number == last).long() * (1 + (place >= padded - shift).long())  # the opposite border wraps round
        label = torch.where(source > border, torch.full_like(label, 3), label)
        back = (position - shift.flatten()) % padded.flatten()
        view = [1] * (2 * dims)
        view[axis], view[dims + axis] = place.shape[0], w
        tokens = tokens * (border + 1).view([1] * (2 * dims)) + source.minimum(border).view(view)
        regions = regions * 4 + label.view(view)
        view = [1] * dims
        view[axis] = n
        blocks = blocks * (last + 1).view([1] * dims) + (back // w).view(view)
        inside = inside * w + (back % w).view(view)
    total = math.prod(window)
    return tokens.view(-1, total), (blocks * total + inside).flatten(), regions.view(-1, total)


@torch.library.custom_op("flemme_monai::window_tables", mutates_args=())
def _tables(
    size: list[int], window: list[int], shifted: bool, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The tables as one node of an exported program."""
    return window_tables(size, window, shifted, device)


@_tables.register_fake
def _(size, window, shifted, device):
    shape = (math.prod((n + w - 1) // w for n, w in zip(size, window)), math.prod(window))
    return tuple(torch.empty(s, dtype=torch.long, device=device) for s in (shape, (math.prod(size),), shape))


def table_attention(
    qkv: torch.Tensor,
    bias: torch.Tensor,
    tokens: torch.Tensor,
    places: torch.Tensor,
    regions: torch.Tensor,
    num_heads: int,
) -> torch.Tensor:
    """Attention in windows that are gathered by :func:`window_tables`.

    Args:
        qkv: queries, keys and values of every token (B, *s, 3C).
        bias: added to the products (h, N, N).
        tokens: tokens of each window (M, N).
        places: of each token among the windows' (L).
        regions: of the windows' tokens (M, N).
        num_heads: heads h.

    Returns:
        (B, *s, C).
    """
    (windows, count), batch, channels = tokens.shape, qkv.shape[0], qkv.shape[-1] // 3
    x = qkv.flatten(1, -2).index_select(1, tokens.flatten())
    # (B, MN, 3C) -> 3 x (B, M, h, N, C / h)
    x = x.view(batch, windows, count, 3, num_heads, channels // num_heads)
    q, k, v = x.permute(3, 0, 1, 4, 2, 5).unbind(0)
    apart = regions[:, None, :, None] != regions[:, None, None, :]  # (M, 1, N, N)
    weight = q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5 + bias
    x = weight.masked_fill(apart, float("-inf")).softmax(-1) @ v
    x = x.transpose(2, 3).reshape(batch, windows * count, channels)
    return x.index_select(1, places).view(list(qkv.shape[:-1]) + [channels])


@torch.library.custom_op("flemme_monai::table_attention", mutates_args=())
def _attention(
    qkv: torch.Tensor,
    bias: torch.Tensor,
    tokens: torch.Tensor,
    places: torch.Tensor,
    regions: torch.Tensor,
    num_heads: int,
) -> torch.Tensor:
    """The attention as one node of an exported program."""
    return table_attention(qkv, bias, tokens, places, regions, num_heads)


@_attention.register_fake
def _(qkv, bias, tokens, places, regions, num_heads):
    return qkv.new_empty(list(qkv.shape[:-1]) + [qkv.shape[-1] // 3])


class WindowAttention(nn.Module):
    """Multi-head self-attention in (shifted) windows with relative position bias (Liu et al. 2021, eq. 4).

    Args:
        spatial_dims: 2 or 3.
        channels: number of channels.
        num_heads: heads; must divide ``channels``.
        window_size: window along each axis; an axis shorter than it is one window.
        shift: whether the windows are shifted by half their size.
        dropout: probability of dropping an attention weight and an output.
        qkv_bias: whether the map to queries, keys and values has a bias.
        attention_dropout: of attention weights alone; None takes ``dropout``.

    Raises:
        ValueError: If the heads do not divide the channels.
    """

    def __init__(
        self,
        spatial_dims: int,
        channels: int,
        num_heads: int,
        window_size: Sequence[int],
        shift: bool,
        dropout: float = 0.0,
        qkv_bias: bool = True,
        attention_dropout: float | None = None,
    ) -> None:
        super().__init__()
        if channels % num_heads:
            raise ValueError(
                f"window attention: num_heads is {num_heads}; expected a divisor of the {channels} channels."
            )
        self.num_heads = num_heads
        self.window_size = list(window_size)
        self.shift = shift
        self.dropout = dropout
        self.attention_dropout = dropout if attention_dropout is None else attention_dropout
        self.qkv = Linear(channels, 3 * channels, qkv_bias)
        self.proj = Linear(channels, channels)
        entries = 1
        for w in self.window_size:
            entries *= 2 * w - 1
        self.position_bias = nn.Parameter(torch.empty(entries, num_heads))
        nn.init.trunc_normal_(self.position_bias, std=0.02)
        self.position_index: torch.Tensor
        self.register_buffer("position_index", self._position_index(), persistent=False)

    def _position_index(self) -> torch.Tensor:
        """Row of the bias table for each pair of tokens of a full window (N, N)."""
        axes = torch.meshgrid(*(torch.arange(w) for w in self.window_size), indexing="ij")
        index = torch.zeros(1, dtype=torch.long)
        for axis, w in zip(axes, self.window_size):
            position = axis.flatten()
            index = index * (2 * w - 1) + (position[:, None] - position[None, :] + w - 1)
        return index

    def _bias(self, window: list[int]) -> torch.Tensor:
        """Relative position bias of a window that is full or cut short along some axes (h, N, N)."""
        index = self.position_index
        if window != self.window_size:
            tokens = torch.zeros(1, dtype=torch.long, device=index.device)
            for full, w in zip(self.window_size, window):  # numbers of the full window's tokens that are left
                tokens = (tokens[:, None] * full + torch.arange(w, device=index.device)[None, :]).flatten()
            index = index[tokens][:, tokens]
        count = index.shape[0]
        return self.position_bias[index.flatten()].view(count, count, self.num_heads).permute(2, 0, 1)

    def _exported(self, x: torch.Tensor) -> torch.Tensor:
        """As :meth:`forward`, of any size: no branch depends on it, and windows are gathered by tables."""
        whole, bias = are_nodes_whole(), self._bias(self.window_size)
        make_tables = _tables if whole else window_tables
        tokens, places, regions = make_tables(list(x.shape[1:-1]), self.window_size, self.shift, x.device)
        attend = _attention if whole else table_attention
        return self.proj(attend(self.qkv(x), bias, tokens, places, regions, self.num_heads))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Attend in the windows of ``x`` (B, *s, C)."""
        if not torch.jit.is_scripting():  # noqa: SIM102, scripting compiles all of a condition
            if torch.compiler.is_exporting():
                return self._exported(x)
        size = list(x.shape[1:-1])
        dims = len(size)
        window = [min(w, n) for w, n in zip(self.window_size, size)]
        padded = [(n + w - 1) // w * w for n, w in zip(size, window)]
        shift = [w // 2 if self.shift and n > w else 0 for w, n in zip(window, size)]
        if padded != size:
            pad = [0, 0]
            for n, p in zip(size[::-1], padded[::-1]):
                pad += [0, p - n]
            x = F.pad(x, pad)
        axes = list(range(1, dims + 1))
        if sum(shift) > 0:
            x = torch.roll(x, [-s for s in shift], axes)
        x = window_partition(x, window)  # (B, M, N, C)
        batch, windows, tokens, channels = x.shape
        # (B, M, N, 3C) -> 3 x (BM, h, N, C / h): fused kernels take four axes
        qkv = self.qkv(x).view(batch * windows, tokens, 3, self.num_heads, channels // self.num_heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        bias = self._bias(window).unsqueeze(0)  # (1, h, N, N)
        if sum(shift) > 0 or padded != size:
            region = attention_regions(size, padded, window, shift, x.device)
            apart = region[:, None, :, None] != region[:, None, None, :]  # (M, 1, N, N)
            bias = bias.masked_fill(apart, float("-inf")).repeat(batch, 1, 1, 1)  # (BM, h, N, N)
        x = F.scaled_dot_product_attention(
            q, k, v, attn_mask=bias.to(q.dtype), dropout_p=self.attention_dropout if self.training else 0.0
        )
        x = self.proj(x.transpose(1, 2).reshape(batch, windows, tokens, channels))
        x = window_merge(x, window, padded)
        if sum(shift) > 0:
            x = torch.roll(x, shift, axes)
        for axis in range(dims):
            x = x.narrow(1 + axis, 0, size[axis])
        return F.dropout(x, self.dropout, self.training)


class SwinBlock(MetaFormerBlock):
    """Window attention, then an MLP, each after a layer norm and added to its input (Liu et al. 2021, eq. 3).

    Args:
        spatial_dims: 2 or 3.
        channels: number of channels.
        num_heads: heads; must divide ``channels``.
        window_size: window along each axis.
        shift: whether the windows are shifted by half their size.
        mlp_ratio: hidden width of the MLP over ``channels``.
        act: any activation MONAI names.
        dropout: probability of dropping an attention weight or an activation.
        drop_path: probability that a sample skips a branch (Huang et al. 2016).
        qkv_bias, attention_dropout: as of :class:`WindowAttention`.
        norm: as of :class:`.MetaFormerBlock`.
    """

    def __init__(
        self,
        spatial_dims: int,
        channels: int,
        num_heads: int,
        window_size: Sequence[int],
        shift: bool = False,
        mlp_ratio: float | Sequence[float] = 4.0,
        act: str | tuple = "gelu",
        dropout: float = 0.0,
        drop_path: float = 0.0,
        qkv_bias: bool = True,
        attention_dropout: float | None = None,
        norm: Callable[[int], nn.Module] = nn.LayerNorm,
    ) -> None:
        attention = WindowAttention(
            spatial_dims, channels, num_heads, window_size, shift, dropout, qkv_bias, attention_dropout
        )
        super().__init__(channels, attention, mlp_ratio, act, dropout, drop_path, norm)

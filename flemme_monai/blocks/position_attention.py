"""Attention of segmentation networks: among all positions, and among channels, each added by a learned factor.

Shapes: N positions, C channels, K channels of queries and keys, V of values.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from monai.networks.layers.factories import Conv
from monai.networks.layers.utils import get_act_layer
from torch import nn

from ..ops.backends import no_autocast
from .layers import keeps_bias, make_norm


class PositionAttention(nn.Module):
    """Each position becomes a mean of the values at all positions, weighed by softmax(scale * query . key).

    With K = C / 8 and a kernel of one it is the position attention of DANet (Fu et al. 2019); with kernels along one
    axis that of CS-Net (Mou et al. 2019); with shared queries and keys, a norm and a scale that of OCNet (Yuan et al.
    2018). None of them adds its input: :class:`ScaledResidual` does.

    Args:
        spatial_dims: 2 or 3.
        channels: channels C of the input.
        key_channels: channels K of queries and keys.
        value_channels: channels V of values and of the output; None takes C.
        query_kernel: odd kernel size of the convolution that makes queries, one number or one per axis.
        key_kernel: the same of keys.
        norm: after the convolutions of queries and keys, a name of :func:`flemme_monai.blocks.make_norm`.
        act: after the norm; any activation MONAI names, or None.
        shared: whether the queries are the keys too.
        scaled: whether the scale is 1 / sqrt(K); otherwise it is 1.

    Raises:
        ValueError: If a kernel size is even, or shared queries and keys have different kernels.
    """

    def __init__(
        self,
        spatial_dims: int,
        channels: int,
        key_channels: int,
        value_channels: int | None = None,
        query_kernel: int | Sequence[int] = 1,
        key_kernel: int | Sequence[int] = 1,
        norm: str | None = None,
        act: str | tuple | None = None,
        shared: bool = False,
        scaled: bool = False,
    ) -> None:
        super().__init__()
        if shared and query_kernel != key_kernel:
            raise ValueError(
                f"query_kernel is {query_kernel} and key_kernel {key_kernel}; expected one size for queries that are "
                "the keys too: set both, or shared to False."
            )

        def projection(kernel_size: int | Sequence[int]) -> nn.Sequential:
            kernel = [kernel_size] * spatial_dims if isinstance(kernel_size, int) else list(kernel_size)
            if any(size % 2 == 0 for size in kernel):
                raise ValueError(f"kernel size is {kernel}; expected odd numbers, so that features keep their size.")
            layers: dict[str, nn.Module] = {
                "conv": Conv["conv", spatial_dims](
                    channels,
                    key_channels,
                    tuple(kernel),
                    padding=tuple(size // 2 for size in kernel),
                    bias=keeps_bias(norm),
                )
            }
            if norm is not None:
                layers["norm"] = make_norm(norm, spatial_dims, key_channels)
            if act is not None:
                layers["act"] = get_act_layer(act)
            return nn.Sequential(OrderedDict(layers))

        self.query = projection(query_kernel)
        self.key: nn.Module | None = None if shared else projection(key_kernel)
        self.value = Conv["conv", spatial_dims](channels, value_channels or channels, 1)
        self.scale = key_channels**-0.5 if scaled else 1.0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``x`` (B, C, *s) to (B, V, *s)."""
        query, value = self.query(x), self.value(x)
        key = query if self.key is None else self.key(x)
        q, k, v = (t.flatten(2).transpose(1, 2).unsqueeze(1) for t in (query, key, value))  # (B, 1, N, K or V)
        out = F.scaled_dot_product_attention(q, k, v, scale=self.scale)  # (B, 1, N, V)
        return out.squeeze(1).transpose(1, 2).reshape(value.shape)


class ChannelAffinity(nn.Module):
    """Each channel becomes a mean of all channels, of the unlike ones most (DANet, Fu et al. 2019).

    A = softmax over j of (max_j E_ij - E_ij) with E = X X^T (C, C), and the output is A X, for X of shape (C, N).
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``x`` (B, C, *s) to the same shape."""
        rows = x.flatten(2)  # (B, C, N)
        energy = _gram(rows)  # (B, C, C)
        weights = (energy.amax(-1, keepdim=True) - energy).softmax(-1)
        return (weights.to(x.dtype) @ rows).reshape(x.shape)


class ScaledResidual(nn.Module):
    """x + gamma * branch(x), with a learned number gamma that begins at 0.

    Args:
        branch: a module that keeps the shape.
    """

    def __init__(self, branch: nn.Module) -> None:
        super().__init__()
        self.branch = branch
        self.gamma = nn.Parameter(torch.zeros(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``x`` (B, C, *s) to the same shape."""
        return x + self.gamma * self.branch(x)


def _gram(rows: torch.Tensor) -> torch.Tensor:
    """``rows`` (B, C, N) to (B, C, C): sums over all positions, which half precision would not hold."""
    if torch.jit.is_scripting():
        return rows.float() @ rows.float().transpose(1, 2)
    if torch.compiler.is_exporting():
        return rows.float() @ rows.float().transpose(1, 2)
    with no_autocast(rows):
        return rows.float() @ rows.float().transpose(1, 2)

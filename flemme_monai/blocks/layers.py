"""Single layers that any block or network uses: linear maps, norms by name, a position embedding of any size."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from monai.networks.layers.utils import get_norm_layer
from torch import nn

from .area import linear_resize

NORMS = ("batch", "group", "instance", "layer", "rms", None)


def convolutions_are_faster() -> bool:
    """Whether this processor, with the threads that PyTorch has, runs 1x1 convolutions faster than matrix products."""
    wide = torch.backends.cpu.get_cpu_capability() == "AVX512" and torch.backends.mkldnn.is_available()
    return wide and torch.get_num_threads() > 1


class Linear(nn.Linear):
    """``torch.nn.Linear`` that runs as a 1x1 convolution on CPUs with AVX-512, given more than one thread.

    PyTorch gives convolutions to oneDNN and matrix products to the BLAS (MKL), which on AVX-512 processors that are not
    Intel's reaches half of oneDNN's rate. With narrower instructions both have the same rate, and one thread's 1x1
    convolutions are the BLAS's too: a plain linear layer is the fastest there (docs/benchmark.md). The processor
    decides when the layer is made, so that results repeat. Weights and arguments are those of ``torch.nn.Linear``;
    exported programs hold a plain linear layer.
    """

    def __init__(self, in_features: int, out_features: int, bias: bool = True) -> None:
        super().__init__(in_features, out_features, bias)
        self.as_convolution = convolutions_are_faster()

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """``input`` (..., in_features) to (..., out_features)."""
        plain = not self.as_convolution or input.device.type != "cpu"
        if not torch.jit.is_scripting():
            plain = plain or torch.compiler.is_exporting() or torch.jit.is_tracing()
        if plain:
            return F.linear(input, self.weight, self.bias)
        # (..., C) -> (1, C, L, 1) in channels_last memory, both ways without a copy
        x = input.reshape(1, -1, 1, self.in_features).permute(0, 3, 1, 2)
        out = F.conv2d(x, self.weight[:, :, None, None], self.bias)
        shape = list(input.shape[:-1])
        return out.permute(0, 2, 3, 1).reshape(shape + [self.out_features])


class ChannelLayerNorm(nn.LayerNorm):
    """Layer normalisation over the channels of a channel-first feature (Ba et al. 2016).

    Args:
        channels: number of channels.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(channels)

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Normalise ``input`` (B, C, *s) at every position."""
        # (B, C, *s) -> (B, *s, C) -> (B, C, *s)
        x = input.movedim(1, -1)
        return F.layer_norm(x, self.normalized_shape, self.weight, self.bias, self.eps).movedim(-1, 1)


class RMSNorm(nn.Module):
    """Root mean square normalisation over channels, without a mean and a bias (Zhang and Sennrich 2019).

    ``torch.nn.RMSNorm`` normalises the last axes.

    Args:
        channels: number of channels.
        axis: of the channels: 1, or -1 where they come last.
        eps: added to the mean square.
    """

    def __init__(self, channels: int, axis: int = 1, eps: float = 1e-6) -> None:
        super().__init__()
        self.axis, self.eps = axis, eps
        self.weight = nn.Parameter(torch.ones(channels))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalise ``x`` (B, C, *s) or (B, *s, C) at every position."""
        scale = torch.rsqrt(x.float().square().mean(self.axis, keepdim=True) + self.eps).to(x.dtype)
        shape = [1] * x.dim()
        shape[self.axis] = -1
        return x * scale * self.weight.view(shape)


class ChannelFirst(nn.Module):
    """A module of features (B, C, *s) on the channel-last view (B, *s, C) of sequence blocks.

    Args:
        module: keeps the shape.
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``x`` (B, *s, C) to the same."""
        return self.module(x.movedim(-1, 1)).movedim(1, -1)


def make_token_norm(name: str | None, spatial_dims: int, channels: int, num_groups: int = 8) -> nn.Module:
    """The normalisation layer of that name for tokens (B, *s, C); arguments as of :func:`make_norm`."""
    if name == "layer":
        return nn.LayerNorm(channels)
    if name == "rms":
        return RMSNorm(channels, -1)
    return nn.Identity() if name is None else ChannelFirst(make_norm(name, spatial_dims, channels, num_groups))


def make_norm(name: str | None, spatial_dims: int, channels: int, num_groups: int = 8) -> nn.Module:
    """The normalisation layer of that name.

    Args:
        name: ``batch``, ``group``, ``instance``, ``layer``, ``rms`` or None.
        spatial_dims: 2 or 3.
        channels: number of channels.
        num_groups: groups of the group norm; must divide ``channels``.

    Raises:
        ValueError: If the name is another, or the groups do not divide the channels.
    """
    if name is None:
        return nn.Identity()
    if name == "layer":
        return ChannelLayerNorm(channels)
    if name == "rms":
        return RMSNorm(channels)
    if name == "group":
        if channels % num_groups:
            raise ValueError(f"group norm: num_groups is {num_groups}; expected a divisor of the {channels} channels.")
        return nn.GroupNorm(num_groups, channels)
    if name in ("batch", "instance"):
        return get_norm_layer((name, {"affine": True}), spatial_dims=spatial_dims, channels=channels)
    raise ValueError(f"norm is {name!r}; expected one of {', '.join(map(repr, NORMS))}.")


def keeps_bias(norm: str | None) -> bool:
    """Whether a bias before the norm of that name has an effect: a batch or instance norm takes it away."""
    return norm not in ("batch", "instance")


def groups_of_16(channels: int, most: int = 32) -> int:
    """How many groups a group norm has whose groups are 16 channels wide, or more above ``most`` groups."""
    wanted = min(most, max(1, channels // 16))
    return next(groups for groups in range(wanted, 0, -1) if channels % groups == 0)


@torch.jit.unused
def check_two_images(x: torch.Tensor) -> None:
    """Refuse one image where a batch norm sees means over positions: one value per channel has no variance.

    Raises:
        ValueError: If the batch has one image.
    """
    if x.shape[0] < 2:
        raise ValueError(
            "the batch has one image, and a batch norm sees one value per channel of it; expected two images a batch "
            "or another norm: set batch_size to 2 or more, or norm to group or instance."
        )


class PositionEmbedding(nn.Module):
    """Learned absolute position embedding on a coarse grid, interpolated to the size of its input and added.

    Args:
        spatial_dims: 2 or 3.
        channels: number of channels.
        grid_size: points of the grid along each axis; the weights never depend on an image's size.
    """

    def __init__(self, spatial_dims: int, channels: int, grid_size: int = 8) -> None:
        super().__init__()
        self.grid = nn.Parameter(torch.empty([1, channels] + [grid_size] * spatial_dims))
        nn.init.trunc_normal_(self.grid, std=0.02)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``x`` (B, C, *s) plus the embedding of its positions."""
        return x + linear_resize(self.grid, list(x.shape[2:]))

"""Masked image modelling of any backbone: parts of an image are hidden, and the network says what they are.

Glossary: B batch, S size of the image along each axis, p of a patch, n = S / p patches along each axis, N = prod(n),
K patches that stay, s size of a feature.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import torch
from monai.utils import ensure_tuple_rep
from torch import nn

from ..backbones.backbone import Backbone
from ..backbones.sequence import heads_of_32
from ..blocks import PositionEmbedding, Stage, TransposedConv, ViTBlock
from ..utils.network_config import ConfiguredModule
from .features import LATENT, check_pretrainable, feature_map, freeze_unused, pooled_features

LEAST_PATCH = 8
HEAD_BLOCKS = 2


class MaskedImageModel(ConfiguredModule):
    """Masked image modelling of a backbone, in 2D and 3D.

    Patches that a random mask hides are filled with a learned value, and a light head says what they were (SimMIM, Xie
    et al., CVPR 2022). Where the encoder sees positions as a set, as a Vision Transformer does, hidden patches are left
    out of it instead, and two transformer blocks put a learned token in their place before the head (MAE, He et al.,
    CVPR 2022), which saves the encoder their share of the work.

    The head sits on the latent. What it does not sit on, such as the decoder, is frozen: it would get no gradient.

    Args:
        backbone: a backbone without conditions.
        mask_ratio: share of the patches that are hidden, above 0 and below 1.
        patch_size: pixels of a patch along each axis, one number or one per axis; None takes the least multiple of the
            total stride from 8 on where patches are left out, else 8.
        level: which feature :meth:`features` gives: ``latent``, or the index of one that the encoder keeps.

    Attributes:
        backbone, level: as given.
        drops_patches: whether the encoder sees the visible patches alone.
        patch_size: along each axis.

    Raises:
        ValueError: If the ratio or the patch size is no such value, or the network has no latent or takes conditions.
    """

    def __init__(
        self,
        backbone: Backbone,
        mask_ratio: float = 0.6,
        patch_size: int | Sequence[int] | None = None,
        level: int | str = LATENT,
    ) -> None:
        super().__init__()
        if not 0 < mask_ratio < 1:
            raise ValueError(f"mask_ratio is {mask_ratio}; expected a share above 0 and below 1.")
        check_pretrainable(backbone, type(self).__name__)
        dims, channels = backbone.spatial_dims, backbone.latent_channels
        self.backbone, self.mask_ratio, self.level = backbone, mask_ratio, level
        self.drops_patches = backbone.token_embedding() is not None
        self.patch_size = self._fitting(patch_size)
        self.mask_value = nn.Parameter(torch.zeros([1, backbone.in_channels] + [1] * dims))
        self.completion = Completion(dims, channels) if self.drops_patches else None
        self.head = TransposedConv(dims, channels, backbone.in_channels, backbone.size_divisor, overlap=False)
        freeze_unused(backbone, lambda image: self.head(backbone.encode(image)[0]))

    def _fitting(self, patch_size: int | Sequence[int] | None) -> list[int]:
        stride = self.backbone.size_divisor
        if patch_size is None:
            return [-(-LEAST_PATCH // d) * d for d in stride] if self.drops_patches else [LEAST_PATCH] * len(stride)
        size = list(ensure_tuple_rep(patch_size, len(stride)))
        if min(size) < 1:
            raise ValueError(f"patch_size is {patch_size}; expected 1 or more pixels along each axis.")
        if self.drops_patches and any(p % d for p, d in zip(size, stride)):
            raise ValueError(
                f"patch_size is {patch_size}; expected multiples of {tuple(stride)} along each axis, the total stride "
                f"of this {type(self.backbone).__name__}, since hidden patches are left out of its encoder."
            )
        return size

    def features(self, image: torch.Tensor) -> torch.Tensor:
        """The mean (B, F) over positions of the feature of a whole image (B, in_channels, *S) at the level."""
        return pooled_features(self.backbone, image, self.level)

    def feature_map(self, image: torch.Tensor) -> torch.Tensor:
        """The feature (B, F, *s) of a whole image (B, in_channels, *S) at the level."""
        return feature_map(self.backbone, image, self.level)

    def forward(self, image: torch.Tensor, mask: torch.Tensor | None = None) -> list[torch.Tensor]:
        """An image to what :class:`MaskedLoss` takes.

        Args:
            image: (B, in_channels, *S); S must be a multiple of the patch size.
            mask: (B, 1, *n) true for hidden patches, as many in each image; None draws one.

        Returns:
            the reconstruction (B, in_channels, *S), the image, and the mask.

        Raises:
            ValueError: If the image does not fit, or has one patch.
        """
        mask = random_mask(image, self.patch_size, self.mask_ratio) if mask is None else mask
        hidden = _at_pixels(mask, image)
        filled = torch.where(hidden, self.mask_value.to(image.dtype), image)
        latent = self._encode_visible(filled, mask) if self.drops_patches else self.backbone.encode(filled)[0]
        return [self.head(latent), image, mask]

    def _encode_visible(self, image: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Latent of the visible patches, with a token in the place of hidden ones."""
        grid = list(mask.shape[2:])
        order = mask.flatten(1).to(torch.uint8).argsort(stable=True)  # (B, N), visible patches first
        visible = order.shape[1] - int(mask[0].sum())
        strip = [visible] + [1] * (len(grid) - 1)
        embedding = self.backbone.token_embedding()
        assert embedding is not None, "there where patches are left out"
        assert self.completion is not None, "likewise"
        handle = embedding.register_forward_hook(
            lambda module, args, tokens: from_units(_chosen(to_units(tokens, grid), order[:, :visible]), strip)
        )
        try:
            latent = self.backbone.encode(image)[0]
        finally:
            handle.remove()
        units = to_units(latent, strip)  # (B, K, C, *u)
        rest = self.completion.mask_token.to(units.dtype).expand(
            units.shape[0], order.shape[1] - visible, *units.shape[2:]
        )
        return self.completion(from_units(_chosen(torch.cat([units, rest], 1), order.argsort()), grid))


class Completion(nn.Module):
    """The light decoder of MAE: positions and transformer blocks over visible tokens and tokens of hidden patches.

    Args:
        spatial_dims: 2 or 3.
        channels: of the latent.
    """

    def __init__(self, spatial_dims: int, channels: int) -> None:
        super().__init__()
        self.mask_token = nn.Parameter(torch.zeros([1, 1, channels] + [1] * spatial_dims))
        nn.init.trunc_normal_(self.mask_token, std=0.02)
        self.positions = PositionEmbedding(spatial_dims, channels)
        blocks = [ViTBlock(spatial_dims, channels, heads_of_32(channels)) for _ in range(HEAD_BLOCKS)]
        self.blocks = Stage(blocks, [channels] * HEAD_BLOCKS, channel_last_view=True)

    def forward(self, latent: torch.Tensor) -> torch.Tensor:
        """``latent`` (B, C, *s) to the same shape."""
        return self.blocks(self.positions(latent))


class MaskedLoss(nn.Module):
    """The mean squared error of hidden patches, each standardised by its own mean and deviation (He et al. 2022, 4).

    L = mean over hidden patches of mean over a patch of (r - (x - mean) / sqrt(var + eps))^2, where a patch is all its
    values in all channels and the variance has Bessel's correction. What is predicted are standardised values.

    Args:
        eps: added to the variance of a patch, so that flat ones are 0.
    """

    def __init__(self, eps: float = 1e-6) -> None:
        super().__init__()
        self.eps = eps

    def forward(self, input: Sequence[torch.Tensor], target: torch.Tensor | None = None) -> torch.Tensor:
        """The loss of what :class:`MaskedImageModel` returns, one number; ``target`` is not looked at."""
        reconstruction, image, mask = input
        grid = list(mask.shape[2:])
        predicted = to_units(reconstruction.float(), grid).flatten(2)  # (B, N, values of a patch)
        patches = to_units(image.float(), grid).flatten(2)
        variance, mean = torch.var_mean(patches, 2, keepdim=True)
        error = (predicted - (patches - mean) / (variance + self.eps).sqrt()).square().mean(2)  # (B, N)
        return error[mask.flatten(1)].mean()


def random_mask(image: torch.Tensor, patch_size: Sequence[int], mask_ratio: float) -> torch.Tensor:
    """A mask of random patches for each image, as many in each.

    Args:
        image: (B, C, *S).
        patch_size: pixels of a patch along each axis.
        mask_ratio: share of the patches that are hidden; at least one is and at least one is not.

    Returns:
        (B, 1, *n), true for hidden patches.

    Raises:
        ValueError: If patches do not divide the image, or there is one alone.
    """
    size = [int(n) for n in image.shape[2:]]
    if any(n % p for n, p in zip(size, patch_size)) or size == list(patch_size):
        raise ValueError(
            f"image size {tuple(size)} makes no whole number of patches of {tuple(patch_size)}, at least two; expected "
            "a multiple of the patch size along each axis: set image_size or patch_size."
        )
    grid = [n // p for n, p in zip(size, patch_size)]
    count = prod(grid)
    hidden = min(max(round(mask_ratio * count), 1), count - 1)
    order = torch.rand(image.shape[0], count, device=image.device).argsort(1)
    return (order < hidden).reshape([image.shape[0], 1, *grid])


def to_units(x: torch.Tensor, grid: Sequence[int]) -> torch.Tensor:
    """A feature (B, C, *s) cut along a grid of n cells an axis, into (B, N, C, *(s / n))."""
    dims = len(grid)
    split = [size for n, s in zip(grid, x.shape[2:]) for size in (n, s // n)]
    cells, inner = [2 + 2 * i for i in range(dims)], [3 + 2 * i for i in range(dims)]
    parts = x.reshape([*x.shape[:2], *split]).permute([0, *cells, 1, *inner])
    return parts.reshape([x.shape[0], prod(grid), x.shape[1], *(split[1::2])])


def from_units(units: torch.Tensor, grid: Sequence[int]) -> torch.Tensor:
    """The feature (B, C, *s) of its cells (B, N, C, *(s / n)): the inverse of :func:`to_units`."""
    dims = len(grid)
    parts = units.reshape([units.shape[0], *grid, *units.shape[2:]])
    order = [0, 1 + dims] + [axis for i in range(dims) for axis in (1 + i, 2 + dims + i)]
    size = [n * u for n, u in zip(grid, units.shape[3:])]
    return parts.permute(order).reshape([units.shape[0], units.shape[2], *size])


def _chosen(units: torch.Tensor, order: torch.Tensor) -> torch.Tensor:
    """Cells (B, N, C, *u) of each image in the order of the indices (B, K)."""
    index = order.reshape([*order.shape, *[1] * (units.ndim - 2)])
    return units.gather(1, index.expand(*order.shape, *units.shape[2:]))


def _at_pixels(mask: torch.Tensor, image: torch.Tensor) -> torch.Tensor:
    """A mask of patches (B, 1, *n) at the image's size, (B, 1, *S)."""
    for axis in range(2, image.ndim):
        mask = mask.repeat_interleave(image.shape[axis] // mask.shape[axis], axis)
    return mask

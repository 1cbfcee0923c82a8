"""Spatial transformers: a network sees an image turned, scaled and shifted, and its output is brought back.

Glossary: B images, C channels, d axes (2 or 3), S the image's size along the axes, s that of a prediction, P parameters
of a transform, N positions of a grid.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import nn

from ..backbones.backbone import Backbone, check_image
from ..blocks import ConvBlock, area_resize
from ..blocks.warp import extents, full_precision, moved, positions_of, product, relative, sample, turn
from ..utils.network_config import ConfiguredModule

TRANSFORMS = ("affine", "rigid", "translation")
OUTSIDE = ("background", "nothing", "border")
LIMITS = {"shift": 1.0, "angle": math.pi, "log_scale": math.log(2), "shear": 1.0}
BACKGROUND_LOGIT = 5.0


class SpatialTransformer(ConfiguredModule):
    """Spatial transformer (Jaderberg et al., Spatial Transformer Networks, NIPS 2015) with a way back.

    A small network looks at the image, shrunk to a fixed size so that images of any size fit, and says how to warp it.
    The transform is a rotation times a shear times a scale, and a shift, each of which can be undone, so that what is
    predicted in the warped frame is warped back to the image's own. It acts on positions counted in voxels: what is
    rigid stays rigid in images that are not square. It begins as the identity.

    The parameters of an image, in this order: the shift along each axis (1 is half of the image), and unless the
    transform is a translation the angles (1 in 2D, 3 in 3D: about the third, second and first axis), and if it is
    affine the logarithms of the scales and the shears. They are bounded by ``LIMITS``.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the image.
        transform: ``affine``, ``rigid`` (shift and rotation) or ``translation``.
        outside: what positions are that the warped image does not show: ``background``, logits of the first class;
            ``nothing``, logits against every class, of masks that may overlap; or ``border``, the nearest prediction,
            for outputs that are no logits.
        channels: widths of the convolutions, each of which halves the size.
        hidden: width of the linear layer behind them.
        size: positions of the shrunk image along each axis.

    Raises:
        ValueError: If ``transform`` or ``outside`` is another word, or the size is too small for the convolutions.
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        transform: str = "affine",
        outside: str = "background",
        channels: Sequence[int] = (16, 32, 32),
        hidden: int = 32,
        size: int = 32,
    ) -> None:
        super().__init__()
        if transform not in TRANSFORMS:
            raise ValueError(f"transform is {transform!r}; expected one of {', '.join(TRANSFORMS)}.")
        if outside not in OUTSIDE:
            raise ValueError(f"outside is {outside!r}; expected one of {', '.join(OUTSIDE)}.")
        if size % 2 ** len(channels) or size < 2 * 2 ** len(channels):
            raise ValueError(
                f"size is {size}; expected a multiple of {2 ** len(channels)}, at least two of them, since each of the "
                f"{len(channels)} convolutions halves it."
            )
        self.spatial_dims, self.in_channels, self.size = spatial_dims, in_channels, size
        self.transform, self.outside, self.background_logit = transform, outside, BACKGROUND_LOGIT
        planes = spatial_dims * (spatial_dims - 1) // 2  # in which an image turns, and along which it shears
        kinds = {"shift": spatial_dims}
        if transform != "translation":
            kinds["angle"] = planes
        if transform == "affine":
            kinds |= {"log_scale": spatial_dims, "shear": planes}
        limits = [LIMITS[kind] for kind, count in kinds.items() for _ in range(count)]
        self.register_buffer("limits", torch.tensor(limits), persistent=False)
        self.limits: torch.Tensor
        depths = [in_channels, *channels]
        self.features = nn.Sequential(
            *(ConvBlock(spatial_dims, i, o, norm="instance", stride=2) for i, o in pairwise(depths))
        )
        positions = (size // 2 ** len(channels)) ** spatial_dims
        self.hidden = nn.Sequential(nn.Linear(depths[-1] * positions, hidden), nn.ReLU())
        self.head = nn.Linear(hidden, len(limits))
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The parameters (B, P) of the transform of images (B, in_channels, *S); 0 is the identity.

        Raises:
            ValueError: If the images have another number of axes or channels.
        """
        if not torch.jit.is_scripting():
            check_image(x, self.spatial_dims, self.in_channels, [1] * self.spatial_dims)
        features = self.features(area_resize(x, [self.size] * self.spatial_dims))
        raw = full_precision(self.head(self.hidden(features.flatten(1))))
        limits = self.limits.to(raw.dtype)
        return limits * torch.tanh(raw / limits)

    def warp(self, x: torch.Tensor, parameters: torch.Tensor) -> torch.Tensor:
        """Images (B, C, *S) as the transform shows them, (B, C, *S); beyond an image's border its values go on.

        Args:
            x: the images.
            parameters: their transforms (B, P).
        """
        size = list(x.shape[2:])
        extent = extents(size, x)
        matrix = relative(self.linear(parameters), extent)
        grid = moved(positions_of(size, parameters), matrix, parameters[:, : self.spatial_dims])
        return sample(x, grid, size)

    def warp_back(self, y: torch.Tensor, parameters: torch.Tensor, image_size: list[int]) -> torch.Tensor:
        """Predictions (B, C, *s) of warped images in the frame of the images, (B, C, *s).

        Args:
            y: predictions at any resolution.
            parameters: the transforms (B, P) that the images were warped by.
            image_size: the images' size S, in whose voxels the transform is rigid.
        """
        size = list(y.shape[2:])
        extent = extents(image_size, y)
        matrix = relative(self.inverse(parameters), extent)
        offset = -(matrix * parameters[:, None, : self.spatial_dims]).sum(2)
        grid = moved(positions_of(size, parameters), matrix, offset)
        prediction = sample(y, grid, size)
        if self.outside == "border":
            return prediction
        # 1 up to the centre of the outermost voxel of the image, 0.5 at its border, 0 half a voxel beyond
        shown = ((1 - grid.abs()) * extent[:, None] / 2 + 0.5).clamp(0, 1).prod(1, keepdim=True)  # (B, 1, N)
        shown = shown.view([y.shape[0], 1] + size).to(prediction.dtype)
        background = torch.full_like(prediction, -self.background_logit)
        if y.shape[1] > 1 and self.outside == "background":  # of one channel it is the logit of the foreground
            first = torch.full_like(prediction[:, :1], self.background_logit)
            background = torch.cat([first, background[:, 1:]], 1)
        return shown * prediction + (1 - shown) * background

    def linear(self, parameters: torch.Tensor) -> torch.Tensor:
        """The linear parts (B, d, d) of transforms (B, P), in voxels: rotation times shear times scale."""
        rotation = self._rotation(parameters)
        if self.transform != "affine":
            return rotation
        log_scales, shear = self._stretch(parameters)
        unit = torch.eye(self.spatial_dims, dtype=shear.dtype, device=shear.device)
        return product(rotation, (unit + shear) * log_scales.exp()[:, None])

    def inverse(self, parameters: torch.Tensor) -> torch.Tensor:
        """The inverses (B, d, d) of the linear parts, in closed form."""
        back = self._rotation(parameters).transpose(1, 2)
        if self.transform != "affine":
            return back
        log_scales, shear = self._stretch(parameters)
        unit = torch.eye(self.spatial_dims, dtype=shear.dtype, device=shear.device)
        # (1 + N)^-1 = 1 - N + N^2 of a matrix N above the diagonal, whose third power is 0
        unsheared = unit - shear + product(shear, shear)
        return product(unsheared * (-log_scales).exp()[:, :, None], back)

    def _rotation(self, parameters: torch.Tensor) -> torch.Tensor:
        """Rotations (B, d, d): in the plane, or about the third, then the second, then the first axis."""
        d = self.spatial_dims
        if self.transform == "translation":
            unit = torch.eye(d, dtype=parameters.dtype, device=parameters.device)
            return unit.expand(parameters.shape[0], d, d)
        if d == 2:
            return turn(parameters[:, 2], 0, 1, d)
        first, second, third = turn(parameters[:, 5], 1, 2, d), turn(parameters[:, 4], 0, 2, d), parameters[:, 3]
        return product(product(first, second), turn(third, 0, 1, d))

    def _stretch(self, parameters: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Logarithms of the scales (B, d), and the shears (B, d, d) above the diagonal."""
        d = self.spatial_dims
        start = d + d * (d - 1) // 2
        log_scales, shears = parameters[:, start : start + d], parameters[:, start + d :]
        none = torch.zeros_like(shears[:, 0])
        if d == 2:
            rows = [none, shears[:, 0], none, none]
        else:
            rows = [none, shears[:, 0], shears[:, 1], none, none, shears[:, 2], none, none, none]
        return log_scales, torch.stack(rows, 1).view(-1, d, d)


class Aligned(ConfiguredModule):
    """Any network that gives predictions of an image, behind a spatial transformer; segmentation of this package has
    one of its own (``alignment`` of :class:`SeM` and :class:`HSeM`).

    Args:
        network: takes an image (B, C, *S), and where it is given any its time steps and context; it gives a tensor, or
            in training a list of them. What has no positions, such as logits of an image's class, stays as it is.
        alignment: warps the image, and every prediction back at its own resolution.

    Raises:
        ValueError: If the network is a backbone, whose features nobody would warp back.
    """

    def __init__(self, network: nn.Module, alignment: SpatialTransformer) -> None:
        super().__init__()
        if isinstance(network, Backbone):
            raise ValueError(
                f"network is the backbone {type(network).__name__}; expected a network that gives predictions: give "
                "the backbone to an architecture, SeM(backbone, alignment=...)."
            )
        self.network, self.alignment = network, alignment

    def forward(
        self, x: torch.Tensor, timesteps: torch.Tensor | None = None, context: torch.Tensor | None = None
    ) -> torch.Tensor | list[torch.Tensor]:
        """Image (B, C, *S) to the network's prediction in the image's frame; in training ``[..., parameters]``, all
        predictions and the transforms' parameters (B, P).

        Raises:
            ValueError: If the context is an image, which would not be warped, or the network gives something else than
                tensors.
        """
        parameters, size = self.alignment(x), list(x.shape[2:])
        warped = self.alignment.warp(x, parameters)
        if torch.jit.is_scripting():
            return self.alignment.warp_back(self.network(warped), parameters, size)
        else:  # scripting compiles what follows a branch, but not another branch
            if context is not None and context.ndim == x.ndim:
                raise ValueError("context is an image; expected none or another one: only the image itself is warped.")
            conditions = () if timesteps is None and context is None else (timesteps, context)
            output = self.network(warped, *conditions)
            outputs = [output] if isinstance(output, torch.Tensor) else output
            if not isinstance(outputs, list):
                raise ValueError(f"the network gives a {type(output).__name__}; expected a tensor or a list of them.")
            back = [y if y.ndim < 3 else self.alignment.warp_back(y, parameters, size) for y in outputs]
            return [*back, parameters] if self.training else back[0]

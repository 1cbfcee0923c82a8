"""How a decoder takes a feature of the encoder in: ``fuse(x, skip)``, both (B, C, *s) at one resolution."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn


class Cat(nn.Module):
    """The channels of both, those of the encoder first (U-Net, Ronneberger et al. 2015)."""

    def forward(self, x: torch.Tensor, skip: torch.Tensor) -> torch.Tensor:
        """``x`` (B, C, *s) and ``skip`` (B, K, *s) to (B, K + C, *s)."""
        return torch.cat([skip, x], 1)


class Unpool(nn.Module):
    """Max unpooling: values return to where a pool of 2 found its maxima, all else is 0 (SegNet, Badrinarayanan et al.
    2017)."""

    def forward(self, x: torch.Tensor, skip: torch.Tensor) -> torch.Tensor:
        """``x`` and the pool's indices ``skip``, both (B, C, *s), to (B, C, *(2 s))."""
        if x.dim() == 4:  # functions, since scripting fails on the modules
            return F.max_unpool2d(x, skip, [2, 2])
        return F.max_unpool3d(x, skip, [2, 2, 2])

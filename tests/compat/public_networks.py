"""Small networks in the style of public projects, which import what those do; ``mamba_ssm`` must be there.

They are written as functions of modules that are imported late, so that a test can stand in for ``mamba_ssm`` first.
"""

from __future__ import annotations

import importlib
from types import ModuleType

import torch
import torch.nn.functional as F
from torch import nn


class UMambaLayer(nn.Module):
    """U-Mamba's block (Ma et al. 2024): an image of any dimensions as one sequence."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.mamba = importlib.import_module("mamba_ssm").Mamba(d_model=channels, d_state=16, d_conv=4, expand=2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        rows = x.flatten(2).transpose(1, 2)
        return self.mamba(self.norm(rows)).transpose(1, 2).reshape(x.shape)


class SegMambaLayer(nn.Module):
    """SegMamba's block (Xing et al. 2024): forwards, backwards, and through the slices."""

    def __init__(self, channels: int, slices: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        mamba = importlib.import_module("mamba_ssm").Mamba
        self.mamba = mamba(d_model=channels, d_state=16, d_conv=4, expand=2, bimamba_type="v3", nslices=slices)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        rows = x.flatten(2).transpose(-1, -2)
        return self.mamba(self.norm(rows)).transpose(-1, -2).reshape(x.shape) + x


class VimBlocks(nn.Module):
    """Vim's stack (Zhu et al. 2024): blocks with fused sums and RMSNorms, in two directions."""

    def __init__(self, channels: int, depth: int) -> None:
        super().__init__()
        simple = importlib.import_module("mamba_ssm.modules.mamba_simple")
        self.norms = importlib.import_module("mamba_ssm.ops.triton.layernorm")
        self.layers = nn.ModuleList(
            [
                simple.Block(
                    channels,
                    lambda dim, i=i: simple.Mamba(dim, layer_idx=i, bimamba_type="v2", if_devide_out=True),
                    norm_cls=lambda dim: self.norms.RMSNorm(dim, eps=1e-5),
                    fused_add_norm=True,
                    residual_in_fp32=True,
                )
                for i in range(depth)
            ]
        )
        self.norm_f = self.norms.RMSNorm(channels, eps=1e-5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        residual = None
        for layer in self.layers:
            x, residual = layer(x, residual, inference_params=None)
        norm = self.norm_f
        return self.norms.rms_norm_fn(x, norm.weight, norm.bias, residual=residual, eps=norm.eps, prenorm=False)


class SS2D(nn.Module):
    """The scan over an image of VMamba and VM-UNet (Liu et al. 2024, Ruan and Xiang 2024): rows, columns, and back.

    Args:
        channels: of image and scan.
        states: per channel.
        scan: ``selective_scan_fn``, or a class that calls a kernel's two passes.
    """

    def __init__(self, channels: int, states: int, scan) -> None:
        super().__init__()
        self.rank, self.states, self.scan = 2, states, scan
        self.conv2d = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)
        self.x_proj_weight = nn.Parameter(0.3 * torch.randn(4, self.rank + 2 * states, channels))
        self.dt_projs_weight = nn.Parameter(torch.randn(4, channels, self.rank))
        self.dt_projs_bias = nn.Parameter(torch.rand(4, channels) - 3)
        self.A_logs = nn.Parameter(torch.rand(4 * channels, states))
        self.Ds = nn.Parameter(torch.randn(4 * channels))
        self.out_norm = nn.LayerNorm(channels)

    def orders(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) as (B, 4, C, H * W)."""
        two = torch.stack([x.flatten(2), x.transpose(2, 3).flatten(2)], 1)
        return torch.cat([two, two.flip(-1)], 1)

    def merged(self, ys: torch.Tensor, size: torch.Size) -> torch.Tensor:
        """(B, 4, C, H * W) as (B, C, H * W)."""
        height, width = size
        two = ys[:, :2] + ys[:, 2:].flip(-1)
        return two[:, 0] + two[:, 1].unflatten(-1, (width, height)).transpose(2, 3).flatten(2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        images, channels = x.shape[:2]
        xs = self.orders(F.silu(self.conv2d(x)))
        rows = torch.einsum("bkcl,kdc->bkdl", xs, self.x_proj_weight)
        dts, Bs, Cs = rows.split([self.rank, self.states, self.states], 2)
        dts = torch.einsum("bkrl,kcr->bkcl", dts, self.dt_projs_weight)
        flat = (images, 4 * channels, -1)
        A, bias = -self.A_logs.float().exp(), self.dt_projs_bias.view(-1)
        ys = self.scan(xs.reshape(flat), dts.reshape(flat), A, Bs.contiguous(), Cs.contiguous(), self.Ds, bias)
        y = self.merged(ys.view(images, 4, channels, -1), x.shape[2:])
        return self.out_norm(y.mT).mT.reshape(x.shape)


def scan_function(u, delta, A, B, C, D, bias) -> torch.Tensor:
    """As VM-UNet calls the scan."""
    interface = importlib.import_module("mamba_ssm.ops.selective_scan_interface")
    return interface.selective_scan_fn(
        u, delta, A, B, C, D, z=None, delta_bias=bias, delta_softplus=True, return_last_state=False
    )


def kernel_function(kernel: ModuleType, *extra: object):
    """As VMamba calls a kernel's passes, in an autograd function of its own; ``extra``: last arguments of ``fwd``."""

    class Scan(torch.autograd.Function):
        @staticmethod
        @torch.amp.custom_fwd(device_type="cuda")
        def forward(ctx, u, delta, A, B, C, D, bias):
            out, x, *_ = kernel.fwd(u, delta, A, B, C, D, bias, True, 1, *extra)
            ctx.save_for_backward(u, delta, A, B, C, D, bias, x)
            return out

        @staticmethod
        @torch.amp.custom_bwd(device_type="cuda")
        def backward(ctx, dout, *_):
            u, delta, A, B, C, D, bias, x = ctx.saved_tensors
            du, ddelta, dA, dB, dC, dD, dbias, *_ = kernel.bwd(
                u, delta, A, B, C, D, bias, dout.contiguous(), x, True, 1
            )
            return du, ddelta, dA, dB, dC, dD, dbias

    return Scan.apply

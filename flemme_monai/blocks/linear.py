"""A linear layer over channels that is fast on CPUs too."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn


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

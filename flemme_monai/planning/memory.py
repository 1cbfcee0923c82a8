"""The memory of a training step, counted without computing it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.autograd.graph import saved_tensors_hooks

BYTES_PER_PARAMETER = 16  # float32: the value, its gradient and AdamW's two moments


def network_bytes(network: nn.Module) -> int:
    """Bytes of a network's parameters, their gradients and the optimizer's state."""
    return BYTES_PER_PARAMETER * sum(parameter.numel() for parameter in network.parameters())


def patch_bytes(network: nn.Module, in_channels: int, patch: Sequence[int]) -> int:
    """Bytes that one patch of a batch takes at the peak of a training step: what the backward pass needs of it.

    Args:
        network: on the meta device, where shapes are computed and nothing else.
        in_channels: channels of the image.
        patch: voxels along each axis.
    """
    kept: dict[int, torch.UntypedStorage] = {}
    largest = 0

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        nonlocal largest
        storage = tensor.untyped_storage()  # kept, so that no other storage gets its address
        kept[storage._cdata] = storage
        largest = max(largest, storage.nbytes())
        return tensor

    def unpack(tensor: torch.Tensor) -> torch.Tensor:
        return tensor

    with saved_tensors_hooks(pack, unpack):
        outputs: Any = network.train()(torch.empty(1, in_channels, *patch, device="meta"))
    made = sum(out.untyped_storage().nbytes() for out in ([outputs] if torch.is_tensor(outputs) else outputs))
    parameters = {parameter.untyped_storage()._cdata for parameter in network.parameters()}
    saved = sum(storage.nbytes() for address, storage in kept.items() if address not in parameters)
    return saved + 2 * largest + 4 * made  # gradients of the largest feature; the loss's copies of each output

"""Weights of the Vision Transformer's own code, in JAX: files ``.npz``, such as TransUNet begins with."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch

# what the paths of a transformer become; kernels, scales and biases come after
NAMES = (
    (r"^Transformer/posembed_input/pos_embedding$", "pos_embed"),
    (r"^Transformer/encoder_norm/", "norm."),
    (r"^embedding/", "patch_embed.proj."),
    (r"^Transformer/encoderblock_(\d+)/", r"blocks.\1."),
    (r"LayerNorm_0/", "norm1."),
    (r"LayerNorm_2/", "norm2."),
    (r"MlpBlock_3/Dense_0/", "mlp.fc1."),
    (r"MlpBlock_3/Dense_1/", "mlp.fc2."),
    (r"MultiHeadDotProductAttention_1/out/", "attn.proj."),
    (r"MultiHeadDotProductAttention_1/", "attn."),
    (r"\bquery/", "query."),
    (r"\bkey/", "key."),
    (r"\bvalue/", "value."),
    (r"(kernel|scale)$", "weight"),
)


def is_jax(state: Mapping[str, torch.Tensor]) -> bool:
    """Whether tensors have names of JAX's, which are paths."""
    return any("/" in key for key in state)


def vit_from_jax(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Tensors of a Vision Transformer by timm's names and in PyTorch's forms; queries, keys and values as one.

    Args:
        state: tensors by name; those that have no names of JAX's stay as they are.
    """
    if not is_jax(state):
        return dict(state)
    found: dict[str, torch.Tensor] = {}
    for key, tensor in state.items():
        name = key
        for pattern, replacement in NAMES:
            name = re.sub(pattern, replacement, name)
        found[name] = _in_pytorchs_form(key, tensor)
    for name in [name for name in found if re.search(r"\.attn\.query\.", name)]:
        parts = [found.pop(name.replace("query", part)) for part in ("query", "key", "value")]
        found[name.replace("query", "qkv")] = torch.cat(parts)
    return found


def _in_pytorchs_form(key: str, tensor: torch.Tensor) -> torch.Tensor:
    """A tensor as PyTorch has it: the output's channels first."""
    if "DotProductAttention" in key:
        if not key.endswith("kernel"):
            return tensor.reshape(-1)  # (heads, C / heads) -> (C)
        # queries (C, heads, C / heads), the output (heads, C / heads, C)
        return tensor.flatten(0, 1).mT if "/out/" in key else tensor.flatten(1).mT
    if key.endswith("kernel"):
        return tensor.movedim((-1, -2), (0, 1))  # (*k, C_in, C_out) -> (C_out, C_in, *k)
    return tensor.reshape(-1) if key.endswith("scale") or key.endswith("bias") else tensor

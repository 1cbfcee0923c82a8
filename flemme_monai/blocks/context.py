"""Conditions of a network beside its image: time steps, a class, an image, a position.

Each is embedded once, to a map (B, E, *s) whose s is 1 for what has no extent, and then injected into blocks, or added
to a feature, or concatenated with it.

Glossary: B batch, E channels of the embedding, C channels of a feature, s size of a feature along each axis.
"""

from __future__ import annotations

import math
from collections import OrderedDict

import torch
import torch.nn.functional as F
from monai.networks.layers.factories import Conv
from torch import nn

from .area import area_resize, resized_like
from .stage import ConditionEmbeddings

INJECTIONS = ("gate_bias", "gate", "bias", "cross_attention")


class TimestepEmbedding(nn.Module):
    """Numbers as sinusoids (Ho et al. 2020), then an MLP.

    Args:
        spatial_dims: 2 or 3.
        channels: width E of the embedding, an even number.

    Raises:
        ValueError: If the width is odd.
    """

    def __init__(self, spatial_dims: int, channels: int) -> None:
        super().__init__()
        if channels % 2:
            raise ValueError(f"an embedding of steps has {channels} channels; expected an even number.")
        self.channels = channels
        frequencies = torch.exp(-math.log(10000) * torch.arange(channels // 2) / (channels // 2))
        self.frequencies: torch.Tensor
        self.register_buffer("frequencies", frequencies, persistent=False)
        self.ones = [1] * spatial_dims
        fc1, fc2 = nn.Linear(channels, channels), nn.Linear(channels, channels)
        self.mlp = nn.Sequential(OrderedDict(fc1=fc1, act=nn.SiLU(), fc2=fc2))

    def forward(self, steps: torch.Tensor) -> torch.Tensor:
        """``steps`` (B) to (B, E, 1, ...)."""
        waves = steps[:, None].float() * self.frequencies
        waves = torch.cat([waves.cos(), waves.sin()], -1).to(self.frequencies.dtype)
        return self.mlp(waves).view([steps.shape[0], self.channels] + self.ones)


class Context(nn.Module):
    """A context that a sample may be without: a learned null embedding stands for it (Ho and Salimans 2022).

    Args:
        spatial_dims: 2 or 3.
        channels: width E of the embedding.
        drop: probability that a sample's context is replaced by the null embedding in training.
    """

    def __init__(self, spatial_dims: int, channels: int, drop: float = 0.0) -> None:
        super().__init__()
        self.spatial_dims = spatial_dims
        self.drop = drop
        self.null_embedding = nn.Parameter(torch.randn([1, channels] + [1] * spatial_dims) * 0.02)

    def _or_null(self, embedding: torch.Tensor, is_null: torch.Tensor) -> torch.Tensor:
        """The embedding (B, E, *s), but the learned one for samples whose ``is_null`` (B) is true."""
        if self.training and self.drop > 0:
            is_null = is_null | (torch.rand(is_null.shape, device=is_null.device) < self.drop)
        return torch.where(is_null.view([-1] + [1] * (self.spatial_dims + 1)), self.null_embedding, embedding)


class ClassContext(Context):
    """The class of an image.

    Args:
        num_classes: number of classes; labels are 0 to ``num_classes - 1``, or -1 for no class.
        spatial_dims, channels, drop: as :class:`Context`.
    """

    def __init__(self, num_classes: int, spatial_dims: int, channels: int, drop: float = 0.0) -> None:
        super().__init__(spatial_dims, channels, drop)
        self.embedding = nn.Embedding(num_classes, channels)

    def forward(self, label: torch.Tensor) -> torch.Tensor:
        """``label`` (B) or (B, 1) to (B, E, 1, ...).

        Raises:
            ValueError: If a label is no class; on the CPU alone, since other devices would have to wait for the answer.
        """
        label = label.reshape(-1)
        if not torch.jit.is_scripting() and not torch.compiler.is_compiling():
            self._check(label)
        embedding = self.embedding(label.long().clamp_min(0))
        return self._or_null(embedding.view([-1, embedding.shape[1]] + [1] * self.spatial_dims), ~(label >= 0))

    @torch.jit.unused
    def _check(self, label: torch.Tensor) -> None:
        classes = self.embedding.num_embeddings
        if label.device.type == "cpu" and bool(((label < -1) | (label >= classes)).any()):
            raise ValueError(f"class label {label.tolist()}; expected 0 to {classes - 1}, or -1 for none.")


class PositionContext(Context):
    """Where a patch or slice is: indices as sinusoids, then an MLP.

    Args:
        num_indices: indices per sample, as one per slice or one per axis of a patch; -1 is none.
        spatial_dims, channels, drop: as :class:`Context`.
    """

    def __init__(self, num_indices: int, spatial_dims: int, channels: int, drop: float = 0.0) -> None:
        super().__init__(spatial_dims, channels, drop)
        self.num_indices = num_indices
        self.steps = nn.ModuleList([TimestepEmbedding(spatial_dims, channels) for _ in range(num_indices)])

    def forward(self, index: torch.Tensor) -> torch.Tensor:
        """``index`` (B, num_indices) to (B, E, 1, ...)."""
        index = index.reshape(-1, self.num_indices)
        embedding = torch.zeros_like(self.null_embedding)
        for i, step in enumerate(self.steps):
            embedding = embedding + step(index[:, i])
        return self._or_null(embedding, ~(index >= 0).all(1))


class VectorContext(Context):
    """Numbers that describe a sample, such as age and weight, standardised and through an MLP.

    Args:
        size: numbers per sample; NaN in one of them is none.
        spatial_dims, channels, drop: as :class:`Context`.

    Attributes:
        mean, std: what is subtracted from each number, and what it is then divided by, 0 and 1 at first; saved with
            the weights.
    """

    def __init__(self, size: int, spatial_dims: int, channels: int, drop: float = 0.0) -> None:
        super().__init__(spatial_dims, channels, drop)
        self.size = size
        self.mean: torch.Tensor
        self.std: torch.Tensor
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("std", torch.ones(size))
        fc1, fc2 = nn.Linear(size, channels), nn.Linear(channels, channels)
        self.mlp = nn.Sequential(OrderedDict(fc1=fc1, act=nn.SiLU(), fc2=fc2))
        self.register_load_state_dict_pre_hook(_take_numbers_as_they_are)

    def forward(self, vector: torch.Tensor) -> torch.Tensor:
        """``vector`` (B, size) to (B, E, 1, ...)."""
        vector = vector.reshape(-1, self.size)
        standard = (vector.to(self.mean.dtype) - self.mean) / self.std
        embedding = self.mlp(standard.nan_to_num().to(self.null_embedding.dtype))
        shape = [vector.shape[0], embedding.shape[1]] + [1] * self.spatial_dims
        return self._or_null(embedding.view(shape), vector.isnan().any(1))


def _take_numbers_as_they_are(module: nn.Module, state_dict: dict[str, torch.Tensor], prefix: str, *_: object) -> None:
    """Weights of version 0.6 have no statistics of the numbers."""
    size = state_dict[f"{prefix}mlp.fc1.weight"].shape[1] if f"{prefix}mlp.fc1.weight" in state_dict else 0
    if size:
        state_dict.setdefault(f"{prefix}mean", torch.zeros(size))
        state_dict.setdefault(f"{prefix}std", torch.ones(size))


class ImageContext(Context):
    """An image of the network's size.

    Args:
        encoder: from the image (B, in_channels, *S) to a feature (B, E, *s).
        in_channels: channels of the image; one that is -1 everywhere is none.
        spatial_dims, channels, drop: as :class:`Context`.
    """

    def __init__(
        self, encoder: nn.Module, in_channels: int, spatial_dims: int, channels: int, drop: float = 0.0
    ) -> None:
        super().__init__(spatial_dims, channels, drop)
        self.encoder = encoder
        self.in_channels = in_channels

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """``image`` (B, in_channels, *S) to (B, E, *s)."""
        return self._or_null(self.encoder(image), (image == -1).flatten(1).all(1))


def at_size(condition: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """A map (B, E, *s) at the size of a feature ``x``; one without extent as it is."""
    return condition if max(condition.shape[2:]) == 1 else resized_like(condition, x)


class FiLM(nn.Module):
    """``x (1 + gate) + bias``, both linear maps of a condition that begin as 0 (FiLM, Perez et al. 2018).

    Args:
        spatial_dims: 2 or 3.
        context_channels: width E of the condition.
        channels: channels C of the feature.
        gate: whether there is a gate.
        bias: whether there is a bias.
    """

    def __init__(self, spatial_dims: int, context_channels: int, channels: int, gate: bool, bias: bool) -> None:
        super().__init__()
        self.gate, self.bias = gate, bias
        self.proj = Conv["conv", spatial_dims](context_channels, channels * (int(gate) + int(bias)), 1)
        nn.init.zeros_(self.proj.weight)
        nn.init.zeros_(self.proj.bias)

    def forward(self, x: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        """``x`` (B, C, *s) under a condition (B, E, *t)."""
        change = self.proj(F.silu(at_size(condition, x)))
        if self.gate and self.bias:
            gate, bias = change.chunk(2, 1)
            return x * (1 + gate) + bias
        return x * (1 + change) if self.gate else x + change


class CrossAttention(nn.Module):
    """Attention of every position to a condition's, added to the feature; it begins as 0.

    Args:
        spatial_dims: 2 or 3.
        context_channels: width E of the condition.
        channels: channels C of the feature.
        num_heads: heads; must divide ``channels``.
        max_side: a condition is shrunk to at most this many positions along each axis.
    """

    def __init__(
        self, spatial_dims: int, context_channels: int, channels: int, num_heads: int, max_side: int = 8
    ) -> None:
        super().__init__()
        if channels % num_heads:
            raise ValueError(
                f"cross attention: num_heads is {num_heads}; expected a divisor of the {channels} channels."
            )
        self.num_heads, self.max_side = num_heads, max_side
        self.norm = nn.LayerNorm(channels)
        self.query = nn.Linear(channels, channels)
        self.key_value = nn.Linear(context_channels, 2 * channels)
        self.proj = nn.Linear(channels, channels)
        nn.init.zeros_(self.proj.weight)
        nn.init.zeros_(self.proj.bias)

    def forward(self, x: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        """``x`` (B, C, *s) under a condition (B, E, *t)."""
        batch, channels = x.shape[:2]
        sides = [min(n, self.max_side) for n in condition.shape[2:]]
        tokens = area_resize(condition, sides).flatten(2).transpose(1, 2)  # (B, T, E)
        rows = x.flatten(2).transpose(1, 2)  # (B, L, C)
        # to heads: (B, h, L, C / h), (B, h, T, C / h) twice
        q = self.query(self.norm(rows)).view(batch, -1, self.num_heads, channels // self.num_heads).transpose(1, 2)
        kv = self.key_value(tokens).view(tokens.shape[0], -1, 2, self.num_heads, channels // self.num_heads)
        k, v = kv.permute(2, 0, 3, 1, 4).expand(-1, batch, -1, -1, -1).unbind(0)
        out = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(rows.shape)
        return x + self.proj(out).transpose(1, 2).reshape(x.shape)


class ContextFusion(nn.Module):
    """The context added to a feature, or concatenated with it, at one place.

    Args:
        spatial_dims: 2 or 3.
        context_channels: width E of the condition.
        channels: channels C of the feature.
        cat: concatenate, and project to C channels again; else project and add.
        own_of_decoder: take the decoder's own embedding.
    """

    def __init__(
        self, spatial_dims: int, context_channels: int, channels: int, cat: bool, own_of_decoder: bool = False
    ) -> None:
        super().__init__()
        self.cat, self.own_of_decoder = cat, own_of_decoder
        self.proj = Conv["conv", spatial_dims](context_channels + (channels if cat else 0), channels, 1)

    def forward(self, x: torch.Tensor, conditions: ConditionEmbeddings) -> torch.Tensor:
        """``x`` (B, C, *s) with the embedded context."""
        context_emb = conditions.decoder_context_emb if self.own_of_decoder else conditions.context_emb
        if context_emb is None:
            raise ValueError("no context is given; expected one, which this network was built to add or concatenate.")
        condition = at_size(context_emb, x)
        if not self.cat:
            return x + self.proj(condition)
        condition = condition.expand([x.shape[0], condition.shape[1]] + list(x.shape[2:]))
        return self.proj(torch.cat([x, condition], 1))


class BlockInjection(nn.Module):
    """Injects the time and the context into a feature, one after the other.

    Args:
        time: injects the time, or None.
        context: injects the context, or None.
        context_before_time: the order.
        own_of_decoder: take the decoder's own embedding of the context.
    """

    def __init__(
        self,
        time: nn.Module | None,
        context: nn.Module | None,
        context_before_time: bool,
        own_of_decoder: bool = False,
    ) -> None:
        super().__init__()
        self.time, self.context, self.context_before_time = time, context, context_before_time
        self.own_of_decoder = own_of_decoder

    def forward(self, x: torch.Tensor, conditions: ConditionEmbeddings) -> torch.Tensor:
        """``x`` (B, C, *s) under embedded conditions."""
        time_emb = conditions.time_emb
        context_emb = conditions.decoder_context_emb if self.own_of_decoder else conditions.context_emb
        if self.context_before_time and self.context is not None and context_emb is not None:
            x = self.context(x, context_emb)
        if self.time is not None and time_emb is not None:
            x = self.time(x, time_emb)
        if not self.context_before_time and self.context is not None and context_emb is not None:
            x = self.context(x, context_emb)
        return x


def injection(kind: str, spatial_dims: int, context_channels: int, channels: int, num_heads: int) -> nn.Module:
    """The module that injects a condition into a feature: one of ``INJECTIONS``."""
    if kind == "cross_attention":
        return CrossAttention(spatial_dims, context_channels, channels, num_heads)
    return FiLM(spatial_dims, context_channels, channels, gate="gate" in kind, bias="bias" in kind)

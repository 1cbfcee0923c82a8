"""What step-wise inference hands from call to call, and names of ``mamba_ssm.utils`` that vision networks import."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import torch

LANGUAGE = "language models are not covered: load a file of weights with torch.load, and call the network itself"


@dataclass
class InferenceParams:
    """States of all layers between steps.

    Attributes:
        max_seqlen: most steps.
        max_batch_size: most sequences.
        seqlen_offset: steps that have been taken.
        batch_size_offset: first sequence.
        key_value_memory_dict: by layer, the states of its convolution and its scan.
        lengths_per_sample: None, or steps by sequence.
    """

    max_seqlen: int
    max_batch_size: int
    seqlen_offset: int = 0
    batch_size_offset: int = 0
    key_value_memory_dict: dict = field(default_factory=dict)
    lengths_per_sample: torch.Tensor | None = None

    def reset(self, max_seqlen: int, max_batch_size: int) -> None:
        """Begin again."""
        self.max_seqlen, self.max_batch_size, self.seqlen_offset = max_seqlen, max_batch_size, 0


class StateCache(Protocol):
    """What of an :class:`InferenceParams` a layer asks for."""

    seqlen_offset: int
    key_value_memory_dict: dict


class CachedMixer(torch.nn.Module):
    """A layer that keeps its states in an :class:`InferenceParams`."""

    layer_idx: int | None

    def allocate_inference_cache(
        self, batch_size: int, max_seqlen: int, dtype: torch.dtype | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Empty states of convolution and scan for a number of sequences; their sizes do not depend on the length."""
        raise NotImplementedError

    def _get_states_from_cache(
        self, inference_params: StateCache, batch_size: int, initialize_states: bool = False
    ) -> tuple[torch.Tensor, torch.Tensor]:
        if self.layer_idx is None:
            name = type(self).__name__
            raise ValueError(f"{name}: layer_idx is None; expected a number: states are kept by it between steps")
        states = inference_params.key_value_memory_dict
        if self.layer_idx not in states:
            states[self.layer_idx] = self.allocate_inference_cache(batch_size, 1)
        elif initialize_states:
            for state in states[self.layer_idx]:
                state.zero_()
        return states[self.layer_idx]


class GenerationMixin:
    """Base of networks that generate text; it generates none here."""

    def generate(self, *arguments: object, **options: object) -> None:
        """Refuse.

        Raises:
            NotImplementedError: If it is called.
        """
        raise NotImplementedError(LANGUAGE)


def load_config_hf(model_name: str) -> dict:
    """Refuse.

    Raises:
        NotImplementedError: If it is called.
    """
    raise NotImplementedError(LANGUAGE)


def load_state_dict_hf(
    model_name: str, device: torch.device | str | None = None, dtype: torch.dtype | None = None
) -> dict:
    """Refuse.

    Raises:
        NotImplementedError: If it is called.
    """
    raise NotImplementedError(LANGUAGE)

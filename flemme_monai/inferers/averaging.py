"""The mean of what several networks, or one network on flipped images, say of an image."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import combinations
from typing import Any

import torch
from torch import nn
from torch.nn.functional import logsigmoid

from ..utils import as_bool, trained_network


def mean_logits(outputs: Iterable[torch.Tensor]) -> torch.Tensor:
    """Logits (B, C, *S) whose softmax is the mean of the softmax of several."""
    total, count = _total((logits.float().log_softmax(1) for logits in outputs), torch.logaddexp)
    return total - torch.tensor(float(count)).log()


def mean_binary_logits(outputs: Iterable[torch.Tensor]) -> torch.Tensor:
    """Logits (B, C, *S) whose sigmoid is the mean of the sigmoid of several."""
    both = (torch.stack([logsigmoid(logits.float()), logsigmoid(-logits.float())]) for logits in outputs)
    total, _ = _total(both, torch.logaddexp)
    return total[0] - total[1]


def mean(outputs: Iterable[torch.Tensor]) -> torch.Tensor:
    """The mean of several tensors of one shape."""
    total, count = _total(outputs, torch.add)
    return total / count


def _total(
    outputs: Iterable[torch.Tensor], add: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
) -> tuple[torch.Tensor, int]:
    """The sum of tensors that are made one by one, and how many there were."""
    total, count = None, 0
    for output in outputs:
        total = output if total is None else add(total, output)
        count += 1
    assert total is not None, "there is an output"
    return total, count


class Ensemble(nn.Module):
    """Several networks as one: the mean of their probabilities, as logits.

    MONAI's ``EnsembleEvaluator`` keeps the prediction of each network over the whole image.

    Args:
        networks: networks that take the same images and give logits of the same classes.
        multi_label: probabilities are the sigmoid of each logit for itself, not the softmax.
    """

    def __init__(self, networks: Iterable[nn.Module], multi_label: bool = False) -> None:
        super().__init__()
        self.mean = mean_binary_logits if multi_label else mean_logits
        self.networks = nn.ModuleList(networks)

    def forward(
        self, x: torch.Tensor, timesteps: torch.Tensor | None = None, context: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Logits (B, C, *S) of images (B, C_in, *S)."""
        return self.mean(network(x, timesteps=timesteps, context=context) for network in self.networks)


def trained_ensemble(
    network: nn.Module,
    weights: str | os.PathLike | Sequence[str | os.PathLike],
    bundle_root: str | os.PathLike,
    multi_label: bool = False,
) -> nn.Module:
    """The network that some weights were trained in, or of several files an :class:`Ensemble`; without the weights.

    Args:
        network: the network of the config.
        weights: the file, such as ``model.pt``, or several.
        bundle_root: folder of the bundle.
        multi_label: of an :class:`Ensemble`.

    Returns:
        The network.

    Raises:
        ValueError: If a network contradicts the config, see :func:`flemme_monai.utils.trained_network`.
    """
    if isinstance(weights, str | os.PathLike):
        return trained_network(network, weights, bundle_root)
    networks = (copy.deepcopy(trained_network(network, path, bundle_root)) for path in weights)
    return Ensemble(networks, multi_label)


def mirror_axes(mirror: bool | str | int | Sequence[int], spatial_dims: int) -> tuple[int, ...]:
    """The axes along which images are flipped too.

    Args:
        mirror: true for all, false for none, or the axes.
        spatial_dims: axes of an image.

    Returns:
        The axes in order.

    Raises:
        ValueError: If it is none of these.
    """
    if isinstance(mirror, bool | str):
        return tuple(range(spatial_dims)) if as_bool(mirror) else ()
    axes = (mirror,) if isinstance(mirror, int) else tuple(mirror)
    known = range(spatial_dims)
    if any(isinstance(axis, bool) or axis not in known for axis in axes) or len({*axes}) < len(axes):
        raise ValueError(
            f"mirror is {mirror!r}; expected true, false or a list of different axes of {', '.join(map(str, known))}: "
            "give one of these"
        )
    return tuple(sorted(axes))


def on_flipped(
    network: Callable[..., torch.Tensor], axes: Sequence[int], windows: torch.Tensor, *args: Any, **kwargs: Any
) -> Iterator[torch.Tensor]:
    """What a network gives of images (B, C, *S) flipped along no, one and several of some axes, flipped back."""
    for count in range(len(axes) + 1):
        for chosen in combinations(axes, count):
            dims = [axis + 2 for axis in chosen]
            yield network(windows.flip(dims), *args, **kwargs).flip(dims)

"""Losses of segmentation by name, and weighted sums of them, of which each term is known for itself."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import monai
import torch
import torch.nn.functional as F
from monai.losses import FocalLoss
from torch import nn

from .dual_term import DualTermLoss
from .overlap import OverlapLoss

_PIECE = 64  # rows of a validation's image whose cross-entropy is computed at a time


class CrossEntropy(nn.Module):
    """Cross-entropy of logits and a label map, with a weight per class.

    Args:
        class_weights: the weight of each class, the background first; None: all alike. The mean is over the weights.

    Raises:
        ValueError: If a weight is not above 0.
    """

    def __init__(self, class_weights: Sequence[float] | None = None) -> None:
        super().__init__()
        if class_weights is not None and min(class_weights) <= 0:
            raise ValueError(
                f"class_weights are {list(class_weights)}; expected numbers above 0: of a class without weight nothing "
                "would be learned, so give it a small one."
            )
        self.class_weights = None if class_weights is None else [float(weight) for weight in class_weights]

    def forward(self, input: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Loss of logits (B, C, *S) and classes (B, 1, *S), one number.

        Raises:
            ValueError: If there are more or fewer weights than classes.
        """
        weight = None
        if self.class_weights is not None:
            if len(self.class_weights) != input.shape[1]:
                raise ValueError(
                    f"class_weights are {self.class_weights}; expected {input.shape[1]}, one for each class, the "
                    "background first."
                )
            weight = input.new_tensor(self.class_weights)
        if input.requires_grad:
            return F.cross_entropy(input, target[:, 0].long(), weight)
        total = count = input.new_zeros(())
        for logits, label in zip(input.split(_PIECE, 2), target[:, 0].split(_PIECE, 1)):  # memory of a few slices
            label = label.long()
            total = total + F.cross_entropy(logits, label, weight, reduction="sum")
            count = count + (label.numel() if weight is None else weight[label].sum())
        return total / count


def boundary_loss() -> nn.Module:
    """The boundary loss of the foreground (Kervadec et al., MIDL 2019), MONAI's.

    Raises:
        ValueError: If MONAI is older than it.
    """
    if not hasattr(monai.losses, "BoundaryLoss"):
        raise ValueError(f"MONAI {monai.__version__} has no boundary loss; expected 1.6.1: pip install monai==1.6.1.")
    return monai.losses.BoundaryLoss(include_background=False, to_onehot_y=True, softmax=True)


_overlap = partial(OverlapLoss, include_background=False, to_onehot_y=True, softmax=True, batch=True)
LOSSES: dict[str, Callable[..., nn.Module]] = {
    "ce": CrossEntropy,
    "dice": _overlap,
    "iou": partial(_overlap, jaccard=True),
    "focal": partial(FocalLoss, to_onehot_y=True, use_softmax=True),
    "boundary": boundary_loss,
    "dual_term": DualTermLoss,
}


class BinaryCrossEntropy(nn.Module):
    """Cross-entropy of each output for itself, of logits (B, C, *S) and masks (B, C, *S)."""

    def forward(self, input: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """The mean over all, one number."""
        return F.binary_cross_entropy_with_logits(input, target.to(input))


_overlap_of_masks = partial(OverlapLoss, sigmoid=True, batch=True)
MULTI_LABEL_LOSSES: dict[str, Callable[..., nn.Module]] = {
    "bce": BinaryCrossEntropy,
    "ce": BinaryCrossEntropy,
    "dice": _overlap_of_masks,
    "iou": partial(_overlap_of_masks, jaccard=True),
    "focal": partial(FocalLoss, use_softmax=False),
}


class WeightedLosses(nn.Module):
    """A sum of losses with weights.

    Args:
        terms: losses by name, or mappings as :func:`term_of` takes them; one or several.
        known: losses by name.
        example: of terms, for a message.

    Attributes:
        recorded: of the last call, each term times its weight, by name.

    Raises:
        ValueError: If there is no term, one is none of these, or a weight is not above 0.
    """

    def __init__(
        self,
        terms: str | Mapping[str, Any] | Sequence[str | Mapping[str, Any]],
        known: Mapping[str, Callable[..., nn.Module]],
        example: str,
    ) -> None:
        super().__init__()
        entries = [terms] if isinstance(terms, str | Mapping) else list(terms)
        if not entries:
            raise ValueError(f"the loss has no terms; expected one or more, such as {example}.")
        self.losses = nn.ModuleDict()
        self.weights: dict[str, float] = {}
        for entry in entries:
            name, loss, weight = term_of(entry, known)
            if name in self.losses:
                raise ValueError(f"the loss has the term {name!r} twice; expected it once, with both weights' sum.")
            self.losses[name], self.weights[name] = loss, weight
        self.recorded: dict[str, torch.Tensor] = {}

    def forward(self, input: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """The sum, one number."""
        input, target = input.as_subclass(torch.Tensor), target.as_subclass(torch.Tensor)  # of a MetaTensor
        terms = {name: self.weights[name] * self.value(loss, input, target) for name, loss in self.losses.items()}
        self.recorded = {name: term.detach() for name, term in terms.items()}
        return torch.stack(list(terms.values())).sum()

    def value(self, loss: nn.Module, input: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """A loss's own number."""
        return loss(input, target)


class SegmentationLoss(WeightedLosses):
    """A weighted sum of losses of logits (B, C, *S) and a label map (B, 1, *S), or masks (B, C, *S) of the classes.

    Args:
        terms: the losses: names of ``LOSSES``, or ``{"loss": ..., "weight": ...}`` with a name, or a loss, and what it
            is multiplied by (1 by default); beside them stand arguments of a loss that is named, such as
            ``{"loss": "ce", "weight": 0.5, "class_weights": [0.2, 0.8]}``.
        multi_label: the outputs are classes for themselves, by their sigmoid, and the target has a mask of each; names
            are then of ``MULTI_LABEL_LOSSES``, where "ce" and "bce" are the binary cross-entropy.

    Attributes:
        recorded: of the last call, each term times its weight, by name.

    Raises:
        ValueError: If there is no term, one is none of these, or a weight is not above 0.
    """

    def __init__(self, terms: Sequence[str | Mapping[str, Any]] = ("dice", "ce"), multi_label: bool = False) -> None:
        super().__init__(terms, MULTI_LABEL_LOSSES if multi_label else LOSSES, "['dice', 'ce']")


def term_of(
    entry: str | Mapping[str, Any], losses: Mapping[str, Callable[..., nn.Module]]
) -> tuple[str, nn.Module, float]:
    """Name, loss and weight of an entry.

    Args:
        entry: a name, or a mapping with ``loss``, maybe ``weight``, and arguments of a loss that is named.
        losses: what makes a loss, by name.

    Raises:
        ValueError: If it is none of these, or the weight is not above 0.
    """
    if not isinstance(entry, (str, Mapping)) or (isinstance(entry, Mapping) and "loss" not in entry):
        raise ValueError(f"a term of the loss is {entry!r}; expected a name, or {{'loss': name, 'weight': number}}.")
    arguments = {"loss": entry} if isinstance(entry, str) else dict(entry)
    loss, weight = arguments.pop("loss"), arguments.pop("weight", 1.0)
    if isinstance(weight, bool) or not isinstance(weight, (int, float)) or weight <= 0:
        raise ValueError(f"the weight of the loss {loss!r} is {weight!r}; expected a number above 0.")
    if not isinstance(loss, str):
        if not isinstance(loss, nn.Module) or arguments:
            raise ValueError(f"a term of the loss is {entry!r}; expected a loss, and beside it a weight alone.")
        return type(loss).__name__, loss, weight
    if loss not in losses:
        other = " with multi_label" if losses is MULTI_LABEL_LOSSES else ""
        raise ValueError(f"there is no loss {loss!r}{other}; expected one of {', '.join(losses)}.")
    known = list(inspect.signature(losses[loss]).parameters)
    unknown = [name for name in arguments if name not in known]
    if unknown:
        takes = f"one of {', '.join(known)}" if known else "none"
        raise ValueError(f"the loss {loss!r} has no argument {unknown[0]!r}; expected {takes}.")
    return loss, losses[loss](**arguments), weight

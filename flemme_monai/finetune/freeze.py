"""Parameters that do not learn."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from difflib import get_close_matches
from fnmatch import fnmatchcase
from types import MethodType

import ignite.distributed as idist
from torch import nn

from .names import grouped

_logger = logging.getLogger(__name__)


def freeze_parameters(network: nn.Module, patterns: str | Sequence[str]) -> list[str]:
    """Take parameters out of training; norms whose parameters are all frozen keep their running statistics too.

    Args:
        network: the network, before it is wrapped and before an optimizer sees it.
        patterns: one or several, as of shells (``fnmatch``), of the names of parameters: ``*`` stands for any
            characters, dots included, as in ``backbone.encoder.*``.

    Returns:
        The names of the frozen parameters.

    Raises:
        ValueError: If a pattern matches no parameter, or no parameter is left to learn.
    """
    if isinstance(patterns, str) or not isinstance(patterns, Sequence):
        patterns = [patterns]
    parameters = dict(network.named_parameters())
    for pattern in patterns:
        if not isinstance(pattern, str):
            raise ValueError(f"freeze has {pattern!r}; expected patterns of parameters' names: backbone.encoder.*")
        if not any(fnmatchcase(name, pattern) for name in parameters):
            raise ValueError(f"freeze: {pattern!r} matches no parameter; {_similar(network, pattern)}")
    frozen = [name for name in parameters if any(fnmatchcase(name, pattern) for pattern in patterns)]
    if len(frozen) == len(parameters):
        raise ValueError(
            f"freeze is {', '.join(patterns)}, which is every parameter; expected some that learn: leave out a pattern"
        )
    for name in frozen:
        parameters[name].requires_grad_(False)
    for module in network.modules():
        own = list(module.parameters(recurse=False))
        if getattr(module, "running_mean", None) is not None and own and not any(p.requires_grad for p in own):
            module.eval()
            module.train = MethodType(_stays, module)  # type: ignore[method-assign]  # trainers call it each iteration
    if idist.get_rank() == 0:
        share = sum(parameters[name].numel() for name in frozen) / sum(p.numel() for p in parameters.values())
        _logger.info("frozen, %.0f %% of the parameters: %s", 100 * share, grouped(frozen, list(parameters)))
    return frozen


def _stays(module: nn.Module, mode: bool = True) -> nn.Module:
    """What ``train`` is to a module that stays in evaluation."""
    return module


def _similar(network: nn.Module, pattern: str) -> str:
    """A question with the modules most like a pattern, else the network's parts."""
    prefixes = [
        f"{name}.*" for name, module in network.named_modules() if name and any(True for _ in module.parameters())
    ]
    near = get_close_matches(pattern, prefixes, n=3) or get_close_matches(f"{pattern.rstrip('.*')}.*", prefixes, n=3)
    if near:
        return f"did you mean {' or '.join(near)}?"
    return f"there are {', '.join(prefix for prefix in prefixes if prefix.count('.') <= 2)}"

"""Shares a data set among processes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import ignite.distributed as idist
import torch
from monai.data import Dataset, DistributedSampler
from torch import distributed
from torch.utils.data import RandomSampler

from .split_record import Part


def own_cases(data: Sequence[Any], part: str) -> Sequence[Any]:
    """The cases that this process loads, keeps and works on; all processes' together are all, each once.

    Args:
        data: all cases of the part.
        part: ``train`` or ``val``.

    Returns:
        Every n-th case, of n processes.

    Raises:
        ValueError: If there are fewer cases than processes.
    """
    processes = distributed.get_world_size()
    _check_number(len(data), part, processes)
    own = list(data)[distributed.get_rank() :: processes]
    return Part(own, data.split, data.source) if isinstance(data, Part) else own


def own_sampler(dataset: Dataset, generator: torch.Generator, num_draws: int | None = None) -> RandomSampler:
    """This process's items in random order; a process with fewer than another draws some again.

    So every process makes as many steps an epoch, whatever its cases have become, such as slices.

    Args:
        dataset: this process's items.
        generator: of the order.
        num_draws: items of an epoch in this process, all again and again; None for as many as the process with most
            has.
    """
    if num_draws is None:
        num_draws = int(idist.all_reduce(len(dataset), "MAX"))
    return RandomSampler(dataset, num_samples=num_draws, generator=generator)


def rank_sampler(dataset: Dataset, part: str) -> DistributedSampler:
    """This process's share of a part of the data that every process has whole, as in bundles of version 0.6.0.

    Training cases are shuffled and every process has as many.

    Args:
        dataset: all cases of the part.
        part: ``train`` or ``val``.

    Returns:
        The sampler.

    Raises:
        ValueError: If there are fewer cases than processes.
    """
    _check_number(len(dataset), part, distributed.get_world_size())
    train = part == "train"
    return DistributedSampler(dataset, even_divisible=train, shuffle=train)


def _check_number(cases: int, part: str, processes: int) -> None:
    if cases < processes:
        raise ValueError(
            f"{cases} {part} cases for {processes} processes, which need one each: start fewer processes, "
            "or name the parts in a split_file"
        )

"""Shares a data set among processes."""

from __future__ import annotations

from monai.data import Dataset, DistributedSampler
from torch import distributed


def rank_sampler(dataset: Dataset, part: str) -> DistributedSampler:
    """This process's share of a part of the data; training cases are shuffled and every process has as many.

    Args:
        dataset: all cases of the part.
        part: ``train`` or ``val``.

    Returns:
        The sampler.

    Raises:
        ValueError: If there are fewer cases than processes.
    """
    processes = distributed.get_world_size()
    if len(dataset) < processes:
        raise ValueError(
            f"{len(dataset)} {part} cases for {processes} processes, which need one each: start fewer processes, "
            "or name the parts in a split_file"
        )
    train = part == "train"
    return DistributedSampler(dataset, even_divisible=train, shuffle=train)

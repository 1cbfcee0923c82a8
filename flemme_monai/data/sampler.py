"""Shares a data set among processes."""

from __future__ import annotations

from collections.abc import Iterator

from monai.data import Dataset, DistributedSampler
from torch import distributed


class RepeatedSampler(DistributedSampler):
    """A process's share of shuffled cases, as often as it takes to draw a number of them.

    Args:
        dataset: all cases.
        num_draws: cases of an epoch, in this process.
    """

    def __init__(self, dataset: Dataset, num_draws: int) -> None:
        super().__init__(dataset, even_divisible=True, shuffle=True)
        self.num_draws = num_draws

    def __len__(self) -> int:
        return self.num_draws

    def __iter__(self) -> Iterator[int]:
        epoch, per_pass = self.epoch, self.num_samples
        passes = -(-self.num_draws // per_pass)
        try:
            for number in range(passes):
                self.epoch = epoch * passes + number  # of which the shuffle is drawn
                left = self.num_draws - number * per_pass
                yield from list(super().__iter__())[:left]
        finally:
            self.epoch = epoch


def rank_sampler(dataset: Dataset, part: str, num_draws: int | None = None) -> DistributedSampler:
    """This process's share of a part of the data; training cases are shuffled and every process has as many.

    Args:
        dataset: all cases of the part.
        part: ``train`` or ``val``.
        num_draws: training cases of an epoch in each process; None: every case once.

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
    if train and num_draws is not None:
        return RepeatedSampler(dataset, num_draws)
    return DistributedSampler(dataset, even_divisible=train, shuffle=train)

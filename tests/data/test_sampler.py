"""Sharing cases among processes."""

from __future__ import annotations

import pytest
from torch import distributed

from flemme_monai.data import rank_sampler


@pytest.fixture
def two_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distributed, "get_world_size", lambda *_: 2)
    monkeypatch.setattr(distributed, "get_rank", lambda *_: 0)


@pytest.mark.usefixtures("two_processes")
def test_every_process_trains_on_as_many_cases_and_validates_its_share() -> None:
    assert len(list(rank_sampler(range(5), "train"))) == 3
    assert list(rank_sampler(range(5), "val")) == [0, 2, 4]


@pytest.mark.usefixtures("two_processes")
def test_fewer_cases_than_processes_are_refused() -> None:
    with pytest.raises(ValueError, match="1 val cases for 2 processes"):
        rank_sampler(range(1), "val")


@pytest.mark.usefixtures("two_processes")
def test_an_epoch_of_a_number_of_cases_goes_through_all_again_and_again() -> None:
    sampler = rank_sampler(range(10), "train", 12)
    first = list(sampler)
    assert len(first) == len(sampler) == 12
    assert first == list(sampler)  # of one epoch
    assert len({*first[:5]}) == len({*first[5:10]}) == 5  # its half of the cases, another in each pass
    assert first[:5] != first[5:10]
    sampler.set_epoch(1)
    assert list(sampler) != first
    assert len(list(rank_sampler(range(10), "train", 3))) == 3
    assert len(list(rank_sampler(range(10), "val", 3))) == 5


def test_processes_share_each_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distributed, "get_world_size", lambda *_: 2)
    drawn = []
    for rank in (0, 1):
        monkeypatch.setattr(distributed, "get_rank", lambda *_, rank=rank: rank)
        drawn.append(list(rank_sampler(range(10), "train", 5)))
    assert sorted(drawn[0] + drawn[1]) == list(range(10))

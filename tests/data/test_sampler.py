"""Sharing cases among processes."""

from __future__ import annotations

import pytest
import torch
from torch import distributed

from flemme_monai.data import own_cases, own_sampler, rank_sampler, split_datalist
from flemme_monai.data.split_record import Part


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


def test_each_case_is_of_one_process_and_knows_its_split(monkeypatch: pytest.MonkeyPatch) -> None:
    cases = split_datalist(None, "segmentation", 2, 1, 3, 8)["train"]
    monkeypatch.setattr(distributed, "get_world_size", lambda *_: 3)
    parts = []
    for rank in range(3):
        monkeypatch.setattr(distributed, "get_rank", lambda *_, rank=rank: rank)
        parts.append(own_cases(cases, "train"))
    assert sorted(case["case"] for part in parts for case in part) == sorted(case["case"] for case in cases)
    assert all(isinstance(part, Part) and part.split["train"] == cases for part in parts)
    with pytest.raises(ValueError, match="2 val cases for 3 processes"):
        own_cases(cases[:2], "val")


def test_a_process_with_fewer_items_draws_some_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ignite.distributed.all_reduce", lambda number, op: max(number, 7))
    generator = torch.Generator().manual_seed(0)
    sampler = own_sampler(range(5), generator)
    first, second = list(sampler), list(sampler)
    assert len(sampler) == len(first) == 7
    assert set(first) == set(second) == set(range(5))
    assert first != second
    generator.manual_seed(0)
    assert list(sampler) == first


def test_an_epoch_of_a_number_of_items_goes_through_all_again_and_again() -> None:
    sampler = own_sampler(range(5), torch.Generator().manual_seed(0), 12)
    drawn = list(sampler)
    assert len(drawn) == len(sampler) == 12
    assert set(drawn[:5]) == set(drawn[5:10]) == set(range(5))
    assert drawn[:5] != drawn[5:10]
    assert len(list(own_sampler(range(5), torch.Generator(), 3))) == 3

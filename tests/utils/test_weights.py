"""Weights fit a network, or the error says where they do not."""

from __future__ import annotations

import pickle

import pytest
import torch

from flemme_monai.utils import load_weights, unwrap_model


@pytest.fixture
def network():
    return torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Linear(4, 2))


def test_weights_are_loaded(network, tmp_path):
    torch.save({k: torch.ones_like(v) for k, v in network.state_dict().items()}, tmp_path / "model.pt")
    load_weights(network, tmp_path / "model.pt")
    assert all((v == 1).all() for v in network.state_dict().values())


def test_wrappers_do_not_matter(network, tmp_path):
    wrapped = torch.nn.DataParallel(network)
    assert unwrap_model(wrapped) is network
    torch.save(network.state_dict(), tmp_path / "model.pt")
    load_weights(wrapped, tmp_path / "model.pt")


def test_a_missing_file_is_named(network, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no checkpoint .*model\.pt"):
        load_weights(network, tmp_path / "model.pt")


def test_differences_are_named_and_nothing_is_loaded(network, tmp_path):
    state = network.state_dict()
    state["0.weight"] = torch.zeros(5, 3)
    state["2.weight"] = state.pop("1.weight")
    torch.save(state, tmp_path / "other.pt")
    before = network[0].bias.clone()
    state["0.bias"] += 1
    with pytest.raises(ValueError, match=r"other\.pt does not fit the network: ") as error:
        load_weights(network, tmp_path / "other.pt")
    message = str(error.value)
    assert "1.weight is missing" in message
    assert "2.weight is not in the network" in message
    assert "0.weight is (5, 3) and the network's is (4, 3)" in message
    assert "\n" not in message
    assert torch.equal(network[0].bias, before + 1)


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"an earlier run", pickle.dumps(print)])
def test_a_file_that_is_no_checkpoint_is_named(network, tmp_path, content):
    (tmp_path / "model.pt").write_bytes(content)
    with pytest.raises(ValueError, match=r"model\.pt is no checkpoint that loads with weights_only=True") as error:
        load_weights(network, tmp_path / "model.pt")
    assert "\n" not in str(error.value)


def test_a_cut_file_is_named(network, tmp_path):
    torch.save(network.state_dict(), tmp_path / "model.pt")
    (tmp_path / "model.pt").write_bytes((tmp_path / "model.pt").read_bytes()[:300])
    with pytest.raises(ValueError, match="is no checkpoint"):
        load_weights(network, tmp_path / "model.pt")


def test_something_else_than_a_state_dict_is_named(network, tmp_path):
    torch.save([1, 2], tmp_path / "model.pt")
    with pytest.raises(ValueError, match="holds a list, expected"):
        load_weights(network, tmp_path / "model.pt")

"""Parameters that a pattern names do not learn, and norms among them keep their statistics."""

from __future__ import annotations

import copy
import logging
import re

import pytest
import torch

from flemme_monai.finetune import freeze_parameters, initial_network
from flemme_monai.finetune.names import grouped
from flemme_monai.optim import parameter_groups
from tests.networks import image, network


def test_frozen_parameters_and_running_statistics_stay(caplog):
    caplog.set_level(logging.INFO, logger="flemme_monai")
    net = network("HSeM", "UNet", 2)  # of batch norms
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    names = freeze_parameters(net, "backbone.encoder.*")
    assert names == [name for name, _ in net.named_parameters() if name.startswith("backbone.encoder.")]
    optimizer = torch.optim.SGD(parameter_groups(net), 0.1)
    for _ in range(2):
        net.train()
        optimizer.zero_grad()
        sum(t.square().mean() for t in net(image(2))).backward()
        optimizer.step()
    changed = {name for name, tensor in net.state_dict().items() if not torch.equal(tensor, before[name])}
    assert not any(name.startswith("backbone.encoder.") for name in changed)
    assert any("running_mean" in name for name in changed)  # the decoder's
    assert sum(len(group["params"]) for group in optimizer.param_groups) + len(names) == len(list(net.parameters()))
    assert re.match(rf"frozen, \d+ % of the parameters: backbone.encoder.\* \({len(names)}\)", caplog.messages[0])


def test_a_copy_and_an_evaluation_are_as_of_any_network():
    net = network("SeM", "UNet", 2)
    freeze_parameters(net, "backbone.encoder.*")
    other = copy.deepcopy(net)
    norm = next(m for m in other.modules() if isinstance(m, torch.nn.BatchNorm2d))
    assert norm.train() is norm
    assert not norm.training
    assert not any(module.training for module in net.eval().modules())
    torch.jit.script(other.eval())


def test_a_norm_that_is_frozen_in_part_learns_its_statistics():
    net = network("SeM", "UNet", 2)
    freeze_parameters(net, ["backbone.encoder.*.bias"])
    assert all(m.training for m in net.train().modules())


def test_several_patterns_and_those_of_one_name():
    net = network("HSeM", "UNet", 2)
    names = freeze_parameters(net, ["pyramid.fuse.bias", "*.patch_embedding.*"])
    assert [name for name, p in net.named_parameters() if not p.requires_grad] == names
    assert "pyramid.fuse.bias" in names
    assert all("patch_embedding" in name for name in names if name != "pyramid.fuse.bias")


@pytest.mark.parametrize(
    ("patterns", "message"),
    [
        ("backbone.encodr.*", "'backbone.encodr.*' matches no parameter; did you mean backbone.encoder.*"),
        ("backbone.encoder", "'backbone.encoder' matches no parameter; did you mean backbone.encoder.*"),
        (["backbone.*", "head.*"], "'head.*' matches no parameter; "),
        ("*", "freeze is *, which is every parameter; expected some that learn"),
        (["backbone.*", "pyramid.*"], "freeze is backbone.*, pyramid.*, which is every parameter"),
        (3, "freeze has 3; expected patterns of parameters' names"),
        ([3], "freeze has 3; expected patterns of parameters' names"),
    ],
)
def test_what_matches_nothing_or_all_is_refused(patterns, message):
    net = network("HSeM", "UNet", 2)
    with pytest.raises(ValueError, match=re.escape(message)):
        freeze_parameters(net, patterns)
    assert all(p.requires_grad for p in net.parameters())


def test_what_is_like_nothing_gets_the_parts():
    with pytest.raises(
        ValueError, match=r"there are backbone.\*, backbone.encoder.\*, backbone.decoder.\*, pyramid.\*"
    ):
        freeze_parameters(network("HSeM", "UNet", 2), "zzzz")


@pytest.mark.parametrize("word", [None, "none", "false", False, "", []])
def test_nothing_is_frozen_by_default(word):
    net = initial_network(network("SeM", "CNN", 2), freeze=word)
    assert all(p.requires_grad for p in net.parameters())


def test_frozen_parameters_that_were_not_loaded_are_named(caplog, tmp_path):
    there = network("SeM", "CNN", 2)
    state = there.state_dict()
    del state["backbone.encoder.patch_embedding.conv.bias"]
    torch.save(state, tmp_path / "model.pt")
    initial_network(network("SeM", "CNN", 2), tmp_path / "model.pt", freeze="backbone.encoder.*")
    warned = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert warned == [
        "frozen as they were initialised, since they were not loaded: backbone.encoder.patch_embedding.conv.bias"
    ]


def test_names_are_said_in_few_words():
    every = ["a.x.1.weight", "a.x.1.bias", "a.x.2.weight", "a.y.weight", "b.weight", "c"]
    assert grouped(every, every) == "a.x.* (3), a.y.* (1), b.weight, c"
    assert grouped(every[1:5], every) == "a.x.1.bias, a.x.2.* (1), a.y.* (1), b.weight"
    assert grouped([], every) == ""

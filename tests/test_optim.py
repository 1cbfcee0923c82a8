"""Which parameters decay; the learning rate rises, then falls to nothing."""

from __future__ import annotations

import io

import pytest
import torch
from monai.networks.nets import BasicUNet

from flemme_monai import architectures
from flemme_monai.backbones import Adapted
from flemme_monai.optim import parameter_groups, warmup_schedule
from tests.backbones.test_foreign import CHANNELS, Basic
from tests.networks import ENCODERS, network


def rates(steps=10, **options):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], 1.0)
    scheduler = warmup_schedule(optimizer, steps, **options)
    values = []
    for _ in range(steps + 1):
        values.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return values


@pytest.mark.parametrize("decay", ["cosine", "linear"])
def test_it_rises_to_the_peak_and_falls_to_zero(decay):
    values = rates(warmup_steps=3, decay=decay)
    assert values[:4] == pytest.approx([0.25, 0.5, 0.75, 1.0])
    assert values[3:] == sorted(values[3:], reverse=True)
    assert values[-1] == pytest.approx(0, abs=1e-9)


def test_the_decay_is_what_it_is_called():
    assert rates(decay="linear")[5] == pytest.approx(0.5)
    assert rates(decay="cosine")[5] == pytest.approx(0.5)
    assert rates(decay="linear")[2] == pytest.approx(0.8)
    assert rates(decay="cosine")[2] == pytest.approx(0.9045, abs=1e-4)


def test_a_run_may_be_all_warm_up():
    assert rates(4, warmup_steps=4)[:4] == pytest.approx([0.2, 0.4, 0.6, 0.8])


def test_its_state_loads_without_pickle_and_goes_on():
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], 1.0)
    scheduler = warmup_schedule(optimizer, 10, 2)
    for _ in range(4):
        optimizer.step()
        scheduler.step()
    buffer = io.BytesIO()
    torch.save(scheduler.state_dict(), buffer)
    buffer.seek(0)
    other = warmup_schedule(torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], 1.0), 10, 2)
    other.load_state_dict(torch.load(buffer, weights_only=True))
    assert other.get_last_lr() == scheduler.get_last_lr()
    assert other.last_epoch == 4


@pytest.mark.parametrize(
    ("options", "message"), [({"decay": "step"}, "decay is 'step'"), ({"warmup_steps": 11}, "0 to the 10 steps")]
)
def test_bad_settings_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        rates(**options)


@pytest.mark.parametrize("encoder", ENCODERS)
def test_every_parameter_is_in_one_group_and_scans_decay_nothing(encoder):
    net = network("HSeM", encoder, 2)
    groups = parameter_groups(net)
    assert sorted(id(p) for group in groups for p in group["params"]) == sorted(id(p) for p in net.parameters())
    scans = {id(p) for name, p in net.named_parameters() if name.endswith(("A_log", ".D", "dt_bias"))}
    assert {id(p) for group in groups[1:] for p in group["params"]} == scans
    assert all(group["weight_decay"] == 0 for group in groups[1:])
    assert bool(scans) == encoder.startswith("VMamba")
    torch.optim.AdamW(groups, weight_decay=0.1)


@pytest.mark.parametrize("encoder", ENCODERS)
def test_the_rate_falls_from_the_output_to_the_image(encoder):
    net = network("HSeM", encoder, 2)  # two stages and the middle blocks
    groups = parameter_groups(net, 0.1, 0.5)
    optimizer = torch.optim.AdamW(groups, lr=0.1, weight_decay=0.1)
    assert sorted(id(p) for group in groups for p in group["params"]) == sorted(id(p) for p in net.parameters())
    rate = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    names = {name: rate[id(p)] for name, p in net.named_parameters()}
    expected = {
        "pyramid.": 0,
        "backbone.decoder.output_layer.": 0,
        "backbone.decoder.stages.1.": 1,
        "backbone.decoder.up.1.": 1,
        "backbone.decoder.stages.0.": 2,
        "backbone.encoder.middle.0.": 3,
        "backbone.encoder.down.1.": 4,
        "backbone.encoder.stages.1.": 4,
        "backbone.encoder.stages.0.": 5,
        "backbone.encoder.patch_embedding.": 6,
    }
    for prefix, depth in expected.items():
        found = {lr for name, lr in names.items() if name.startswith(prefix)}
        assert found == {0.1 * 0.5**depth}, prefix
    assert optimizer.param_groups[0]["lr"] == 0.1  # which the history shows
    scans = {id(p) for name, p in net.named_parameters() if name.endswith(("A_log", ".D", "dt_bias"))}
    assert {id(p) for group in optimizer.param_groups if group["weight_decay"] == 0 for p in group["params"]} == scans


@pytest.mark.parametrize(
    ("architecture", "deepest"), [("ClM", 4), ("VAE", 6), ("DDPM", 7), ("AE", 6)]
)  # a denoiser's conditions are one more
def test_every_architecture_has_its_layers(architecture, deepest):
    net = network(architecture, "CNN", 2)
    rates = {group["lr"] for group in parameter_groups(net, 1.0, 0.5)}
    assert min(rates) == 0.5**deepest
    assert max(rates) == 1.0


def test_the_stages_of_a_network_from_elsewhere_are_its_layers():
    net = architectures.SeM(Basic(2, 1, 2))
    rates = {id(p): group["lr"] for group in parameter_groups(net, 1.0, 0.5) for p in group["params"]}
    stages = [*net.backbone.encoder.stages, *net.backbone.decoder.stages]
    found = [{rates[id(p)] for p in stage.parameters()} for stage in stages]
    assert found == [{0.5**depth} for depth in (10, 9, 8, 7, 6, 4, 3, 2, 1)]
    assert {rates[id(p)] for p in net.backbone.decoder.up.parameters()} == {0.5**5}
    assert {rates[id(p)] for p in net.backbone.decoder.output_layer.parameters()} == {1.0}


def test_the_schedule_keeps_the_ratios_of_the_rates():
    net = network("SeM", "CNN", 2)
    optimizer = torch.optim.SGD(parameter_groups(net, 0.1, 0.5), 0.1)
    peaks = [group["lr"] for group in optimizer.param_groups]
    scheduler = warmup_schedule(optimizer, 10, 2)
    for _ in range(5):
        optimizer.step()
        scheduler.step()
    scheduler.stretch(20)
    factors = {round(group["lr"] / peak, 9) for group, peak in zip(optimizer.param_groups, peaks)}
    assert len(factors) == 1
    assert 0 < factors.pop() < 1


def test_frozen_parameters_are_in_no_group():
    net = network("SeM", "VMamba", 2)
    net.backbone.encoder.requires_grad_(False)
    for groups in (parameter_groups(net), parameter_groups(net, 0.1, 0.5)):
        assert all(p.requires_grad for group in groups for p in group["params"])
        assert all(group["params"] for group in groups)
        torch.optim.AdamW(groups, 0.1)


@pytest.mark.parametrize(
    ("rate", "decay", "message"),
    [
        (0.1, 0.0, "layer_decay is 0.0; expected a factor above 0 and up to 1"),
        (0.1, 1.5, "layer_decay is 1.5; expected"),
        (None, 0.5, "layer_decay is 0.5 without a learning_rate; expected that of the output layers"),
    ],
)
def test_a_decay_that_is_none_is_refused(rate, decay, message):
    with pytest.raises(ValueError, match=message):
        parameter_groups(network("SeM", "CNN", 2), rate, decay)


@pytest.mark.parametrize(
    "net", [BasicUNet(2, 1, 2, CHANNELS), architectures.SeM(Adapted(2, 1, 2, torch.nn.Conv2d(1, 2, 1)))]
)
def test_layers_that_are_not_known_have_one_rate(net):
    with pytest.raises(
        ValueError, match=r"layer_decay is 0.9; expected 1 for (BasicUNet|Adapted), whose layers are not"
    ):
        parameter_groups(net, 0.1, 0.9)

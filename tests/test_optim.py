"""Which parameters decay; the learning rate rises, then falls to nothing."""

from __future__ import annotations

import io

import pytest
import torch

from flemme_monai.optim import parameter_groups, warmup_schedule
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

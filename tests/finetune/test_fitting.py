"""What of some weights fits a network is loaded, the rest is named, and what fits too little is refused."""

from __future__ import annotations

import logging
import re
from pathlib import Path

import pytest
import torch
from monai.networks.nets import BasicUNet

from flemme_monai import architectures
from flemme_monai.backbones import Adapted, ConditioningConfig, ConvFamily, ViTFamily
from flemme_monai.finetune import initial_network, load_what_fits
from flemme_monai.utils.record import make_record, write_record
from tests.networks import CORE, TABLE, image, network, table


def other(architecture: str, encoder: str, dims: int, channels: int, seed: int = 1) -> torch.nn.Module:
    """A network for images of ``channels`` channels, with as many outputs, or classes."""
    torch.manual_seed(seed)
    settings = {"in_channels": channels, "out_channels": channels}
    if architecture in ("SDM", "DSeM"):
        settings["conditioning"] = ConditioningConfig(
            timesteps=True, context="image", context_size=channels, channels=8
        )
    return network(architecture, encoder, dims, **settings)


def saved(net: torch.nn.Module, folder: Path) -> Path:
    """The weights of a network in a file, with their record."""
    torch.save(net.state_dict(), folder / "model.pt")
    write_record(folder, make_record(net, {}))
    return folder / "model.pt"


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO, logger="flemme_monai")
    return lambda: [record.getMessage() for record in caplog.records]


@pytest.mark.parametrize(("architecture", "encoder", "dims"), table(TABLE, CORE))
def test_all_weights_of_the_same_network_are_loaded(architecture, encoder, dims, tmp_path, lines):
    there, here = other(architecture, encoder, dims, 2), other(architecture, encoder, dims, 2, seed=2)
    loaded = load_what_fits(here, saved(there, tmp_path))
    statistics = {"scale_factor"} if architecture == "LDM" else set()
    assert loaded == there.state_dict().keys() - statistics
    assert all(torch.equal(here.state_dict()[name], there.state_dict()[name]) for name in loaded)
    assert any(re.match(r"pretrained: \d+ of \d+ tensors, 100.0 % of the parameters, of", line) for line in lines())
    assert not any(line.startswith(("trained otherwise", "not in the network")) for line in lines())


@pytest.mark.parametrize(("architecture", "encoder", "dims"), table(TABLE, CORE))
def test_other_channels_change_the_input_and_the_output_layers_alone(architecture, encoder, dims, tmp_path):
    there, here = other(architecture, encoder, dims, 2), other(architecture, encoder, dims, 3)
    before = {name: tensor.clone() for name, tensor in here.state_dict().items()}
    loaded = load_what_fits(here, saved(there, tmp_path), pretrained_head=False)
    own, theirs = here.state_dict(), there.state_dict()
    differ = {name for name in own if own[name].shape != theirs[name].shape}
    adapted = differ & loaded
    head = own.keys() - loaded - set(here.data_statistics)
    assert head == differ - adapted  # and nothing that fits is left
    assert len(adapted) == (2 if architecture in ("SDM", "DSeM") else 1)
    for name in adapted:
        total = theirs[name].sum(1, keepdim=True)
        torch.testing.assert_close(own[name], (total / 3).expand_as(own[name]))
    assert all(torch.equal(own[name], before[name]) for name in head)
    assert all(torch.equal(own[name], theirs[name]) for name in loaded - adapted)


@pytest.mark.parametrize(
    "settings",
    [
        {"patch_size": 1},
        {"family": ConvFamily(up_mode="interpolate")},
        {"patch_size": 1, "final_channels": [4], "family": ConvFamily(up_mode="interpolate")},
        {"decoder_family": ViTFamily(num_heads=2, up_mode="conv")},
    ],
)
def test_whatever_recovers_patches_its_last_convolution_is_the_output_layer(settings, tmp_path):
    there, here = (network("SeM", "UNet", 2, out_channels=n, **settings) for n in (2, 3))
    loaded = load_what_fits(here, saved(there, tmp_path), pretrained_head=False)
    own, theirs = here.state_dict(), there.state_dict()
    assert own.keys() - loaded == {name for name in own if own[name].shape != theirs[name].shape}


@pytest.mark.parametrize("architecture", ["SeM", "HSeM", "ClM"])
@pytest.mark.parametrize("encoder", ["CNN", "ViT", "Swin", "VMamba"])
def test_equal_channels_give_what_one_channel_gave(architecture, encoder, tmp_path):
    there = network(architecture, encoder, 2).eval()
    here = network(architecture, encoder, 2, in_channels=3).eval()
    load_what_fits(here, saved(there, tmp_path))
    x = image(2)
    torch.testing.assert_close(here(x.repeat(1, 3, 1, 1)), there(x), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(("architecture", "encoder"), [("SeM", "UNet"), ("HSeM", "ViTU"), ("ClM", "CNN")])
def test_another_number_of_classes_is_refused_with_the_setting_to_give(architecture, encoder, tmp_path):
    path = saved(network(architecture, encoder, 2), tmp_path)
    net = network(architecture, encoder, 2, out_channels=5)
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    with pytest.raises(
        ValueError, match=r"the output layer .* here; expected the same number .* --pretrained_head fal"
    ):
        load_what_fits(net, path)
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
    load_what_fits(net, path, pretrained_head=False)


def test_every_name_that_is_not_loaded_is_said_with_its_reason(tmp_path, lines):
    there, here = network("SeM", "UNet", 2), network("HSeM", "UNet", 2)
    state = there.state_dict()
    name = "backbone.decoder.stages.1.blocks.0.conv.weight"
    state[name], state["backbone.other.weight"] = state[name][:1], torch.zeros(3)
    torch.save(state, tmp_path / "model.pt")
    load_what_fits(here, tmp_path / "model.pt")
    said = dict(line.split(": ", 1) for line in lines())
    shape = tuple(here.state_dict()[name].shape)
    assert said[f"not loaded, {(1, *shape[1:])} in the file and {shape} here"] == name
    pyramid = [name for name in here.state_dict() if name.startswith("pyramid.")]
    assert said["not loaded, not in the file"].split(", ") == pyramid
    assert said["not in the network"] == "backbone.other.weight"
    encoder = sum(name.startswith("backbone.encoder.") for name in state)
    assert said["loaded"].startswith(f"backbone.encoder.* ({encoder}), backbone.decoder.up.* (4), ")


def test_half_of_the_parameters_must_fit_and_the_record_says_what_differs(tmp_path):
    path = saved(network("SeM", "UNet", 3), tmp_path)
    with pytest.raises(ValueError, match=r"model.pt fits \d+% of the network's .*#spatial_dims is 2 here and 3 in"):
        load_what_fits(network("SeM", "UNet", 2), path)
    path.with_name("network.json").unlink()
    with pytest.raises(ValueError, match=r"at least half \(backbone.encoder.patch_embedding.conv.weight: \(8, 1, "):
        load_what_fits(network("SeM", "UNet", 2), path)


def test_a_setting_that_changes_no_shape_is_said(tmp_path, lines):
    there, here = network("EDM", "CNN", 2), network("EDM", "CNN", 2)
    torch.save(there.state_dict(), tmp_path / "model.pt")
    write_record(tmp_path, make_record(there, {"sigma_data": 0.3}))
    load_what_fits(here, tmp_path / "model.pt", settings={"sigma_data": 0.5})
    assert any(re.match("trained otherwise: sigma_data is 0.5 here and 0.3 in", line) for line in lines())


def test_a_network_of_which_only_the_output_is_known(tmp_path):
    def adapted(channels: int) -> torch.nn.Module:
        return architectures.SeM(Adapted(2, channels, 2, BasicUNet(2, channels, 2, (4, 4, 8, 8, 12, 4)), 16))

    there, here = adapted(1).eval(), adapted(3).eval()
    path, x = saved(there, tmp_path), torch.randn(1, 1, 32, 32)
    assert load_what_fits(here, path) == here.state_dict().keys()
    torch.testing.assert_close(here(x.repeat(1, 3, 1, 1)), there(x), rtol=1e-3, atol=1e-4)
    with pytest.raises(ValueError, match="pretrained_head is false; expected true for SeM, whose output layer is not"):
        load_what_fits(here, path, pretrained_head=False)


def test_a_network_of_another_package_is_loaded_by_name_and_shape(tmp_path):
    there, here = (BasicUNet(2, 1, 2, (4, 4, 8, 8, 12, 4)) for _ in range(2))
    torch.save(there.state_dict(), tmp_path / "model.pt")
    assert initial_network(here, tmp_path / "model.pt") is here
    assert all(torch.equal(a, b) for a, b in zip(here.state_dict().values(), there.state_dict().values()))


def test_weights_of_less_precision_become_the_networks(tmp_path):
    there, here = network("SeM", "CNN", 2), network("SeM", "CNN", 2)
    torch.save({name: tensor.half() for name, tensor in there.state_dict().items()}, tmp_path / "model.pt")
    load_what_fits(here, tmp_path / "model.pt")
    assert [t.dtype for t in here.state_dict().values()] == [t.dtype for t in there.state_dict().values()]

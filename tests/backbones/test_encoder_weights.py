"""Published weights of a trunk: what fits is loaded, what does not is named, what is of another network is refused."""

from __future__ import annotations

import logging
import re
from pathlib import Path

import pytest
import torch

from flemme_monai.architectures import SeM
from flemme_monai.backbones.encoder_weights import load_encoder_weights
from flemme_monai.backbones.extractors.resnet import ResNet
from flemme_monai.backbones.networks import DLinkNet
from flemme_monai.utils import load_weights, trained_network
from flemme_monai.utils.record import make_record, write_record

NAMES = [(r"^stages\.0\.blocks\.0\.(conv1|bn1)", r"\1"), (r"^stages\.(\d)\.blocks\.(\d+)", r"layer\1.\2")]


def resnet(spatial_dims: int = 2, in_channels: int = 3, depth: int = 10, seed: int = 0, channels: int = 8) -> ResNet:
    """A small trunk."""
    torch.manual_seed(seed)
    return ResNet(spatial_dims, in_channels, depth, channels)


def published(trunk: ResNet) -> dict[str, torch.Tensor]:
    """Its weights as torchvision names them, with a classifier."""
    state = {}
    for key, tensor in trunk.state_dict().items():
        for pattern, replacement in NAMES:
            key = re.sub(pattern, replacement, key)
        state[key] = tensor.clone()
    return {**state, "fc.weight": torch.ones(10, 64), "fc.bias": torch.ones(10)}


def saved(state: dict[str, torch.Tensor], folder: Path) -> Path:
    torch.save(state, folder / "resnet.pth")
    return folder / "resnet.pth"


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO, logger="flemme_monai")
    return lambda: [record.getMessage() for record in caplog.records]


def test_published_names_are_torchvisions():
    names = published(resnet(depth=14))
    assert {"conv1.weight", "bn1.running_mean", "layer1.0.downsample.0.weight", "layer4.0.conv3.weight"} <= names.keys()
    assert {"layer4.0.bn3.num_batches_tracked", "layer2.0.downsample.1.bias"} <= names.keys()


@pytest.mark.parametrize("depth", [10, 14])
def test_published_weights_are_loaded_and_the_rest_is_named(depth, tmp_path, lines):
    there, here = resnet(depth=depth), resnet(depth=depth, seed=1)
    state = published(there)
    del state["layer4.0.bn2.bias"]
    state["layer3.0.bn1.weight"] = torch.ones(3)
    load_encoder_weights(here, saved(state, tmp_path))
    different = {"stages.4.blocks.0.bn2.bias", "stages.3.blocks.0.bn1.weight"}
    own = here.state_dict()
    assert all(torch.equal(own[key], tensor) for key, tensor in there.state_dict().items() if key not in different)
    said = "\n".join(lines())
    assert "stages.4.blocks.0.bn2.bias is not loaded: not in the file" in said
    width = own["stages.3.blocks.0.bn1.weight"].shape[0]
    assert f"stages.3.blocks.0.bn1.weight is not loaded: (3,) in the file and ({width},) here" in said
    assert "in the file and not in ResNet: fc.weight, fc.bias" in said


def test_a_file_of_safetensors_is_the_same(tmp_path):
    save_file = pytest.importorskip("safetensors.torch").save_file
    there, here = resnet(), resnet(seed=1)
    save_file(published(there), tmp_path / "resnet.safetensors")
    load_encoder_weights(here, str(tmp_path / "resnet.safetensors"))
    torch.testing.assert_close(here.state_dict(), there.state_dict())


@pytest.mark.parametrize("channels", [1, 2, 5])
def test_equal_channels_give_what_they_gave_before(channels, tmp_path, lines):
    there, here = resnet().eval(), resnet(in_channels=channels, seed=1).eval()
    load_encoder_weights(here, saved(published(there), tmp_path))
    x = torch.randn(1, 1, 64, 64)
    torch.testing.assert_close(here(x.expand(-1, channels, -1, -1))[0], there(x.expand(-1, 3, -1, -1))[0])
    assert f"stages.0.blocks.0.conv1.weight has {channels} input channels for 3 in the file" in lines()[0]
    first = here.stages[0].blocks[0].conv1.weight
    if channels == 1:
        torch.testing.assert_close(first, there.stages[0].blocks[0].conv1.weight.sum(1, keepdim=True))


def test_none_leaves_the_trunk_as_it_is():
    trunk, same = resnet(), resnet()
    load_encoder_weights(trunk, None)
    torch.testing.assert_close(trunk.state_dict(), same.state_dict())


def test_2d_weights_are_refused_by_a_3d_trunk(tmp_path):
    path = saved(published(resnet()), tmp_path)
    message = "holds weights of a 2D network (stages.0.blocks.0.conv1.weight is (8, 3, 7, 7) there and (8, 3, 7, 7, 7)"
    with pytest.raises(ValueError, match=re.escape(message)):
        load_encoder_weights(resnet(spatial_dims=3), path)


def test_3d_weights_fit_a_3d_trunk(tmp_path):
    there, here = resnet(spatial_dims=3), resnet(spatial_dims=3, seed=1)
    load_encoder_weights(here, saved(published(there), tmp_path))
    torch.testing.assert_close(here.state_dict(), there.state_dict())


def test_weights_of_another_trunk_are_refused_and_change_nothing(tmp_path):
    here, same = resnet(channels=16), resnet(channels=16)
    message = r"fits \d+% of the parameters of ResNet; expected at least half \(stages.0.blocks.0.conv1.weight: \(8, 3"
    with pytest.raises(ValueError, match=message):
        load_encoder_weights(here, saved(published(resnet()), tmp_path))
    torch.testing.assert_close(here.state_dict(), same.state_dict())


def test_a_file_that_is_not_there_is_not_fetched(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"encoder_weights is \S+resnet34.pth, and there is no such"):
        load_encoder_weights(resnet(), tmp_path / "resnet34.pth")


def test_trained_weights_load_without_the_file_that_their_trunk_began_with(tmp_path):
    path = saved(published(resnet(depth=10)), tmp_path)
    settings = {"depth": 10, "channels": 8, "head_channels": 4}
    trained = SeM(DLinkNet(2, 3, 2, **settings, encoder_weights=str(path)))
    torch.save(trained.state_dict(), tmp_path / "model.pt")
    write_record(tmp_path, make_record(trained, {}))
    path.unlink()
    default = SeM(DLinkNet(2, 3, 2, **{**settings, "head_channels": 8}))
    network = trained_network(default, tmp_path / "model.pt")
    load_weights(network, tmp_path / "model.pt")
    torch.testing.assert_close(network.state_dict(), trained.state_dict())
    assert "resnet" not in (tmp_path / "network.json").read_text(encoding="utf-8")

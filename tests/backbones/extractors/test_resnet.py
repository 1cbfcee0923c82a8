"""The trunk ResNet: sizes as published, dilation in place of strides, features that can be kept."""

from __future__ import annotations

import pytest
import torch

from flemme_monai.backbones.extractors.resnet import ResNet

# trainable parameters of torchvision's without their classifier of 1,000 classes
PUBLISHED = {18: 11_176_512, 34: 21_284_672, 50: 23_508_032, 101: 42_500_160, 152: 58_143_808}


def trunk(*args: int, **settings: object) -> ResNet:
    torch.manual_seed(0)
    return ResNet(*(args or (2, 3)), **{"depth": 14, "channels": 8, **settings}).eval()


@pytest.mark.parametrize(("depth", "parameters"), PUBLISHED.items())
def test_the_size_is_the_published_one(depth, parameters):
    with torch.device("meta"):
        assert sum(p.numel() for p in ResNet(2, 3, depth).parameters()) == parameters


@pytest.mark.parametrize("depth", [10, 14])
@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("stride", [8, 16, 32])
def test_the_output_stride_is_what_is_asked_for(depth, dims, stride):
    net = trunk(dims, 1, depth=depth, output_stride=stride)
    assert net.size_divisor == [stride] * dims
    latent, skips = net(torch.randn(1, 1, *[64, 32, 32][:dims]))
    assert [f.shape[1] for f in [*skips, latent]] == net.feature_channels
    assert [64 // f.shape[2] for f in [*skips, latent]] == [2, 4, 8, min(16, stride), stride]


@pytest.mark.parametrize("depth", [10, 14])
def test_a_dilated_trunk_is_the_strided_one_without_its_gaps(depth):
    strided, dilated = trunk(depth=depth), trunk(depth=depth, output_stride=8)
    dilated.load_state_dict(strided.state_dict())
    x = torch.randn(1, 3, 128, 128)
    torch.testing.assert_close(dilated(x)[0][:, :, ::4, ::4], strided(x)[0], rtol=1e-4, atol=1e-4)


def test_multi_grid_widens_the_last_stage_alone():
    net = trunk(depth=50, channels=2, output_stride=16, multi_grid=(1, 2, 4))
    dilations = [[block.conv2.dilation[0] for block in stage.blocks] for stage in net.stages[1:]]
    assert dilations == [[1] * 3, [1] * 4, [1] * 6, [1, 4, 8]]
    deep = trunk(depth=50, channels=2, output_stride=8, multi_grid=(1, 2, 4))
    assert [[b.conv2.dilation[0] for b in s.blocks] for s in deep.stages[3:]] == [[1, 2, 2, 2, 2, 2], [2, 8, 16]]


def test_features_are_kept_as_asked_and_stages_can_be_left_out():
    net = trunk(num_stages=3, keep=[True, False, True])
    latent, skips = net(torch.randn(1, 3, 64, 64))
    assert net.size_divisor == [16, 16]
    assert net.latent_channels == latent.shape[1] == 128
    assert [tuple(f.shape[1:]) for f in skips] == [(8, 32, 32), (64, 8, 8)]


def test_scripting_keeps_the_numbers():
    net, x = trunk(output_stride=16), torch.randn(1, 3, 32, 64)
    torch.testing.assert_close(torch.jit.script(net)(x), net(x))


@pytest.mark.parametrize("setting", [{"depth": 20}, {"output_stride": 4}])
def test_other_depths_and_strides_are_named(setting):
    ((name, value),) = setting.items()
    with pytest.raises(ValueError, match=f"{name} is {value}; expected"):
        trunk(**setting)


def test_weights_of_timm_give_its_features(tmp_path):
    timm = pytest.importorskip("timm", exc_type=ImportError)
    reference = timm.create_model("resnet34", pretrained=False, features_only=True, output_stride=16).eval()
    from flemme_monai.backbones.encoder_weights import load_encoder_weights

    torch.save(reference.state_dict(), tmp_path / "resnet34.pt")
    net, x = ResNet(2, 3, 34, output_stride=16).eval(), torch.randn(1, 3, 64, 96)
    load_encoder_weights(net, tmp_path / "resnet34.pt")
    latent, skips = net(x)
    torch.testing.assert_close([*skips, latent], reference(x), rtol=1e-4, atol=1e-4)

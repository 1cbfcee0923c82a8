"""The trunk HRNet: its branches, how they exchange features, weights by its authors' names."""

from __future__ import annotations

import pytest
import torch

from flemme_monai.backbones.encoder_weights import load_encoder_weights, renamed
from flemme_monai.backbones.extractors.hrnet import ExchangeUnit, HRNetEncoder

NAMES = {
    "conv1.weight": "conv1.weight",
    "bn2.running_var": "bn2.running_var",
    "layer1.0.downsample.0.weight": "layer1.blocks.0.downsample.0.weight",
    "transition1.0.0.weight": "stages.0.transition.0.0.weight",
    "transition1.1.0.0.weight": "stages.0.transition.1.0.0.weight",
    "transition3.3.0.1.bias": "stages.2.transition.3.0.1.bias",
    "stage2.0.branches.1.3.conv2.weight": "stages.0.units.0.branches.1.blocks.3.conv2.weight",
    "stage3.3.fuse_layers.0.2.1.weight": "stages.1.units.3.fuse_layers.0.paths.2.1.weight",
    "stage4.2.fuse_layers.3.0.2.0.weight": "stages.2.units.2.fuse_layers.3.paths.0.2.0.weight",
}


def small() -> HRNetEncoder:
    torch.manual_seed(0)
    return HRNetEncoder(2, 3, 2, (1, 1, 1), 1, 2).eval()


def test_its_authors_names_are_its_own():
    with torch.device("meta"):
        net = HRNetEncoder(2, 3)
    assert list(renamed(dict.fromkeys(NAMES, torch.ones(1)), net.weight_names)) == list(NAMES.values())
    assert set(NAMES.values()) <= net.state_dict().keys()


def test_the_latent_are_all_branches_at_the_coarsest_resolution():
    net, x = small(), torch.randn(1, 3, 64, 96)
    latent, skips = net(x)
    branches = net.branches(x)
    assert [tuple(b.shape[1:]) for b in branches] == [(2, 16, 24), (4, 8, 12), (8, 4, 6), (16, 2, 3)]
    assert all(torch.equal(a, b) for a, b in zip(skips, branches))
    assert torch.equal(latent[:, -16:], branches[-1])
    torch.testing.assert_close(latent[:, :2], torch.nn.functional.adaptive_avg_pool2d(branches[0], (2, 3)))


@pytest.mark.parametrize("dims", [2, 3])
def test_every_branch_hears_of_every_other(dims):
    unit = ExchangeUnit(dims, (2, 4, 6), 1, None, "elu")
    features = [torch.randn(1, c, *[8 // 2**i] * dims, requires_grad=True) for i, c in enumerate((2, 4, 6))]
    for out, feature in zip(unit(features), features):
        assert out.shape == feature.shape
        gradients = torch.autograd.grad(out.sum(), features, retain_graph=True)
        assert all(gradient.abs().max() > 0 for gradient in gradients)


def test_weights_of_timm_give_its_features(tmp_path):
    timm = pytest.importorskip("timm", exc_type=ImportError)
    there = timm.create_model("hrnet_w18", pretrained=False).eval()
    torch.save(there.state_dict(), tmp_path / "hrnet.pth")
    net, x = HRNetEncoder(2, 3).eval(), torch.randn(1, 3, 64, 96)
    load_encoder_weights(net, tmp_path / "hrnet.pth")
    stem = there.act2(there.bn2(there.conv2(there.act1(there.bn1(there.conv1(x))))))
    torch.testing.assert_close(net.branches(x), there.stages(stem), rtol=1e-4, atol=1e-4)

"""MoCo, SimCLR and Barlow Twins against loops, and what of a backbone learns."""

from __future__ import annotations

import math
import subprocess
import sys

import monai
import pytest
import torch
from networks import ENCODERS, backbone, network
from torch import nn
from torch.nn import functional as F

from flemme_monai.backbones import Adapted
from flemme_monai.optim import parameter_groups
from flemme_monai.ssl import BarlowTwins, BarlowTwinsLoss, InfoNCE, MoCo, ProjectionHead, SimCLR

METHODS = (MoCo, SimCLR, BarlowTwins)


def images(batch: int = 4, dims: int = 2) -> torch.Tensor:
    noise = torch.randn(batch, 1, *[16] * dims)
    return noise + 2 * torch.randn(batch, 1, *[1] * dims)  # of different brightness, so that features differ


def moco(**settings) -> MoCo:
    return MoCo(backbone("UNet", 2), **{"bank_size": 7, "projection_channels": 6, **settings})


def settled(net: nn.Module) -> nn.Module:
    """In evaluation, with statistics of batches and nothing that all projections share, so that they differ."""
    nn.init.zeros_(net.head[-1].bias)
    with torch.no_grad():
        for _ in range(30):
            net(images(), images())
    net = net.eval()
    assert F.normalize(net.project(images())).std(0).norm() > 0.03
    return net


def info_nce(query: torch.Tensor, key: torch.Tensor, negatives: list[torch.Tensor], temperature: float) -> float:
    """-log of the key's share, by its definition."""
    own = math.exp(float(query @ key) / temperature)
    others = sum(math.exp(float(query @ other) / temperature) for other in negatives)
    return -math.log(own / (own + others))


def test_mocos_loss_is_info_nce_over_the_bank():
    net = settled(moco(temperature=0.3))
    image, view = images(), images()
    found = InfoNCE()(net(image, view))
    queries = F.normalize(net.head(net.features(image)))
    keys = F.normalize(net.key_head(net.key_encoder.encode(view)[0].mean((2, 3))))
    losses = [info_nce(query, key, list(net.bank), 0.3) for query, key in zip(queries, keys)]
    assert found.item() == pytest.approx(sum(losses) / len(losses), rel=1e-5)


def test_no_gradient_goes_into_keys():
    net, image, view = moco(), images().requires_grad_(), images().requires_grad_()
    InfoNCE()(net(image, view)).backward()
    assert view.grad is None
    assert image.grad is not None
    assert all(p.grad is None for part in (net.key_encoder, net.key_head) for p in part.parameters())
    assert not net.bank.requires_grad


@pytest.mark.parametrize("method", METHODS)
def test_the_projection_head_learns(method):
    net = method(backbone("UNet", 2))
    optimizer = torch.optim.SGD(parameter_groups(net), lr=0.1)
    learning = {id(p) for group in optimizer.param_groups for p in group["params"]}
    assert learning == {id(p) for part in (net.head, net.backbone.encoder) for p in part.parameters()}
    before = [p.clone() for p in net.head.parameters()]
    loss = BarlowTwinsLoss() if method is BarlowTwins else InfoNCE()
    loss(net(images(), images())).backward()
    optimizer.step()
    assert all(not torch.equal(p, old) for p, old in zip(net.head.parameters(), before) if p.ndim > 1)


def test_the_bank_forgets_the_oldest_keys():
    net = moco(momentum=0.0)
    start, seen = net.bank.clone(), []
    for number in range(3):
        view = images(3)
        with torch.no_grad():
            net(images(3), view, torch.full((3,), number), torch.tensor([5, 6, 7]))
            seen.append(F.normalize(net.key_head(net.key_encoder.encode(view)[0].mean((2, 3)))))
        if number == 0:
            torch.testing.assert_close(net.bank, torch.cat([seen[0], start[3:]]))
    keys = torch.cat(seen)
    torch.testing.assert_close(net.bank, torch.cat([keys[7:9], keys[2:7]]))
    assert net.bank_cases.tolist() == [2, 2, 0, 1, 1, 1, 2]
    assert net.bank_positions.tolist() == [6, 7, 7, 5, 6, 7, 5]
    assert int(net.bank_next) == 2


def test_a_batch_larger_than_the_bank_leaves_its_last_keys():
    net = moco(bank_size=3)
    net(images(5), images(5), torch.arange(5))
    assert sorted(net.bank_cases.tolist()) == [2, 3, 4]


def test_the_second_encoder_follows_slowly():
    net = moco(momentum=0.6)
    own, leader = net.key_encoder.state_dict(), net.backbone.without_decoder().state_dict()
    expected = {name: tensor.clone() for name, tensor in own.items()}
    for stays in (0.0, 0.5, 0.6, 0.6):  # t / (t + 1) up to the momentum
        for p in net.backbone.parameters():
            nn.init.normal_(p)
        net.follow()
        for name, new in leader.items():
            if new.is_floating_point():
                expected[name] = stays * expected[name] + (1 - stays) * new
                torch.testing.assert_close(own[name], expected[name])


def test_the_second_encoder_uses_no_statistics_of_a_batch():
    net = moco().train()
    assert not any(part.training for half in (net.key_encoder, net.key_head) for part in half.modules())
    assert net.backbone.training


def test_nothing_moves_in_evaluation():
    net = moco().eval()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    net(images(), images())
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())


def test_neighbouring_slices_are_no_negatives_in_the_bank():
    net = moco(negative_distance=2)
    net(images(4), images(4), torch.tensor([1, 1, 1, 2]), torch.tensor([3, 5, 6, 3]))
    net.eval()
    logits = net(images(2), images(2), torch.tensor([1, 9]), torch.tensor([3, 3]))
    near = torch.isinf(logits)
    assert near[0].tolist() == [False, True, True, False, False, False, False, False]  # the last three are of no image
    assert not near[1].any()


def test_simclrs_loss_is_monais():
    net = settled(SimCLR(backbone("UNet", 2), temperature=0.4))
    image, view = images(), images()
    expected = monai.losses.ContrastiveLoss(0.4)(net.project(image), net.project(view))
    torch.testing.assert_close(InfoNCE()(net(image, view)), expected)


def test_simclrs_loss_without_neighbours_is_a_loop():
    net = settled(SimCLR(backbone("UNet", 2), temperature=0.4, negative_distance=1))
    image, view = images(), images()
    case, position = [1, 1, 1, 2], [3, 4, 5, 4]
    found = InfoNCE()(net(image, view, torch.tensor(case), torch.tensor(position)))
    z = F.normalize(torch.cat([net.project(image), net.project(view)]))
    losses = []
    for i in range(8):
        a = i % 4
        far = [j for j in range(8) if case[j % 4] != case[a] or abs(position[j % 4] - position[a]) > 1]
        losses.append(info_nce(z[i], z[(i + 4) % 8], [z[j] for j in far], 0.4))
    assert found.item() == pytest.approx(sum(losses) / 8, rel=1e-5)


def test_barlow_twins_loss_by_hand():
    a, b = torch.randn(5, 3), torch.randn(5, 3)
    found = BarlowTwinsLoss(lambd=0.1)(torch.stack([a, b], 1))
    expected = 0.0
    for i in range(3):
        for j in range(3):
            x, y = a[:, i] - a[:, i].mean(), b[:, j] - b[:, j].mean()
            c = (
                float((x * y).sum() / (x.square().sum() * y.square().sum()).sqrt()) * 4 / 5
            )  # MONAI's: 1/B, Bessel's std
            expected += (1 - c) ** 2 if i == j else 0.1 * c**2
    assert found.item() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("level", [0, 1])
def test_what_a_level_is_not_made_of_does_not_learn(level):
    net = MoCo(backbone("UNet", 2), level=level)
    assert net.features(images()).shape == (4, net.backbone.encode(images())[1][level].shape[1])
    learning = {name for name, p in net.backbone.named_parameters() if p.requires_grad}
    assert 0 < len(learning) < len(list(net.backbone.encoder.parameters()))
    InfoNCE()(net(images(), images())).backward()
    assert {name for name, p in net.backbone.named_parameters() if p.grad is not None} == learning


@pytest.mark.parametrize("level", [2, -1, "late"])
def test_a_level_that_is_not_there_is_refused(level):
    with pytest.raises(ValueError, match=r"level is .*; expected 'latent' or a number from 0 to 1"):
        MoCo(backbone("UNet", 2), level=level)


def test_a_network_without_features_is_refused_with_the_reason():
    with pytest.raises(ValueError, match="SimCLR needs a latent of the image, which Adapted does not give: only the"):
        SimCLR(Adapted(2, 1, 2, nn.Conv2d(1, 2, 1)))


@pytest.mark.parametrize(
    "settings", [{"temperature": 0.0}, {"bank_size": 0}, {"momentum": 1.0}, {"negative_distance": -1}]
)
def test_settings_out_of_range_are_refused(settings):
    with pytest.raises(ValueError, match="expected above 0, from 1, from 0 to below 1, and from 0"):
        moco(**settings)


@pytest.mark.parametrize("method", METHODS)
def test_a_batch_of_one_image_is_refused(method):
    with pytest.raises(ValueError, match="a batch of 1 image; expected 2 or more"):
        method(backbone("UNet", 2))(images(1), images(1))


@pytest.mark.parametrize("encoder", ENCODERS)
def test_every_encoder_learns_to_tell_images_apart(encoder):
    net = MoCo(backbone(encoder, 2), bank_size=8)
    InfoNCE()(net(images(), images())).backward()
    assert all(torch.isfinite(p.grad).all() for p in net.backbone.encoder.parameters() if p.grad is not None)
    assert any(p.grad is not None and p.grad.any() for p in net.backbone.encoder.parameters())


@pytest.mark.parametrize("method", METHODS)
def test_volumes(method):
    net = method(backbone("UNet", 3))
    output = net(images(2, 3), images(2, 3), torch.tensor([3, 4]))
    assert torch.isfinite(BarlowTwinsLoss()(output) if method is BarlowTwins else InfoNCE()(output))


def test_the_names_are_those_of_the_network_that_is_trained_afterwards():
    net = network("HSeM", "UNet", 2)
    names = {name for name in net.state_dict() if name.startswith("backbone.")}
    assert names == {name for name in MoCo(net.backbone).state_dict() if name.startswith("backbone.")}


def test_a_head_spreads_features_that_hardly_differ():
    features = 5 + 0.05 * torch.randn(16, 8)
    projections = F.normalize(ProjectionHead(8, 4)(features))
    assert projections.std(0).norm() > 0.3


def test_an_unknown_method_is_named_in_a_process_that_has_built_none():
    code = "import flemme_monai; flemme_monai.ssl.chosen('mocco', {})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "there is no method 'mocco'" in done.stderr

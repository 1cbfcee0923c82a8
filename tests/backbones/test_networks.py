"""What every network from elsewhere promises, as a network of segmentation and in the other architectures."""

from __future__ import annotations

import io
from itertools import product
from pydoc import locate

import pytest
import torch

from flemme_monai.backbones.backbone import ABILITIES
from flemme_monai.published import PUBLISHED
from flemme_monai.registry import ARCHITECTURES, NETWORKS
from tests.foreign import DIMS_2_ONLY, SMALL, TIME_AND_CLASS, backbone, image, network, sizes
from tests.networks import tensors

DIMS = [(key, dims) for key, dims in product(NETWORKS, (2, 3)) if dims == 2 or key not in DIMS_2_ONLY]
ABILITY_OF = {"hsem": "pyramid", "hae": "pyramid", "clm": "encode", "ddpm": "denoise", "vae": "decode"}
over_networks = pytest.mark.parametrize(
    ("key", "dims"), [row if row[1] == 2 else pytest.param(*row, marks=pytest.mark.slow) for row in DIMS]
)


def test_every_network_has_a_small_size():
    assert SMALL.keys() == NETWORKS.keys()
    assert set(DIMS_2_ONLY) <= NETWORKS.keys()


@pytest.mark.parametrize("key", NETWORKS)
def test_small_networks_are_small(key):
    assert sum(p.numel() for p in backbone(key, 2).parameters()) < 100_000


@over_networks
def test_the_output_has_the_image_size_at_two_sizes(key, dims):
    net = network("sem", key, dims).eval()
    for size in sizes(net.backbone):
        assert net(torch.randn(2, net.backbone.in_channels, *size)).shape == (2, 2, *size)


@over_networks
def test_gradients_reach_every_parameter(key, dims):
    net = network("sem", key, dims)
    sum(t.square().mean() for t in tensors(net(image(net.backbone)))).backward()
    assert [n for n, p in net.named_parameters() if p.grad is None or not p.grad.isfinite().all()] == []


@over_networks
def test_features_and_sides_are_what_the_network_says(key, dims):
    net = network("sem", key, dims).backbone
    out = net(image(net))
    assert [f.shape[1] for f in out.features] == net.feature_channels
    assert out.latent.shape[1] == net.latent_channels
    assert list(out.latent.shape[2:]) == [n // d for n, d in zip(image(net).shape[2:], net.size_divisor)]
    assert len(out.sides) == net.num_sides == len(net.side_weights)
    assert bool(net.num_sides) == NETWORKS[key].deep_supervision
    areas = [f.shape[2:].numel() for f in out.features]
    assert areas == sorted(areas)
    assert net.eval()(image(net)).sides == []


@over_networks
def test_evaluation_is_deterministic_and_saved_weights_give_the_same_output(key, dims):
    net, other = network("sem", key, dims), network("sem", key, dims)
    file = io.BytesIO()
    torch.save(net.train().state_dict(), file)
    file.seek(0)
    other.eval().load_state_dict(torch.load(file, weights_only=True))
    x = image(net.backbone)
    assert torch.equal(net.eval()(x), other(x))
    assert torch.equal(net(x), net(x))


@over_networks
def test_scripting_keeps_the_numbers_at_another_size(key, dims):
    net = network("sem", key, dims).eval()
    x = image(net.backbone, other=True)
    torch.testing.assert_close(torch.jit.script(net)(x), net(x))


@pytest.mark.parametrize("key", NETWORKS)
def test_its_output_layers_are_what_follows_the_number_of_classes(key):
    two, three = (network("sem", key, 2, out_channels=n).backbone for n in (2, 3))
    differ = {name for (name, p), q in zip(two.named_parameters(), three.parameters()) if p.shape != q.shape}
    named = {id(p) for layer in two.output_layers() for p in layer.parameters()}
    assert differ == {name for name, p in two.named_parameters() if id(p) in named}


@pytest.mark.parametrize("key", NETWORKS)
def test_conditions_reach_every_stage(key):
    if backbone(key, 2).family is None:
        pytest.skip("it takes no conditions")
    net = backbone(key, 2, conditioning=TIME_AND_CLASS)
    x = image(net)
    out = net(x, torch.tensor([3, 700]), torch.tensor([0, 2])).output
    out.square().mean().backward()
    assert [n for n, p in net.named_parameters() if p.grad is None] == []
    with torch.no_grad():
        for parameter in net.eval().parameters():  # injections begin at zero
            parameter.add_(0.1 * torch.randn_like(parameter))
    first, other = (net(x, torch.tensor([t]), torch.tensor([0, 2])).output for t in (1, 900))
    assert not torch.equal(first, other)


@pytest.mark.parametrize("key", NETWORKS)
def test_it_refuses_by_name_what_its_row_leaves_out(key):
    row, net = NETWORKS[key], backbone(key, 2)
    assert "sem" in row.architectures
    assert net.refusals.keys() <= ABILITIES.keys()
    for architecture, ability in ABILITY_OF.items():
        if ability in net.refusals:
            assert architecture not in row.architectures
            with pytest.raises(ValueError, match="does not give: "):
                net.require(ability, architecture)
        else:
            assert architecture in row.architectures


@pytest.mark.parametrize(
    ("key", "architecture"),
    [
        (key, architecture) if architecture == "hsem" else pytest.param(key, architecture, marks=pytest.mark.slow)
        for key, row in NETWORKS.items()
        for architecture in row.architectures
        if architecture in ("hsem", "ae", "hae", "clm", "vae")
    ],
)
def test_it_serves_the_other_architectures(key, architecture):
    channels = {"in_channels": 2} if architecture == "vae" else {}
    net = network(architecture, key, 2, **channels)
    sum(t.square().mean() for t in tensors(net(image(net.backbone)))).backward()
    assert [n for n, p in net.named_parameters() if p.grad is None] == []


@pytest.mark.parametrize("row", PUBLISHED, ids=lambda row: f"{row.key}-{row.parameters}")
def test_the_published_size_is_explained(row):
    with torch.device("meta"):
        net = locate(NETWORKS[row.key].path)(row.spatial_dims, row.in_channels, row.out_channels, **row.settings)
    assert sum(p.numel() for p in net.parameters()) == row.parameters
    assert row.difference or row.parameters == row.figure


def test_every_network_has_a_published_size():
    assert {row.key for row in PUBLISHED} == NETWORKS.keys()
    assert set(ARCHITECTURES) >= {a for row in NETWORKS.values() for a in row.architectures}

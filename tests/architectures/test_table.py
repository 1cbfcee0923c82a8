"""What every encoder promises in every architecture, in 2D and 3D."""

from __future__ import annotations

import io

import pytest
import torch

from tests.networks import ARCHITECTURES, DIMS, ENCODERS, HIERARCHICAL, SIZES, image, network, tensors

pytestmark = [
    pytest.mark.parametrize("dims", DIMS),
    pytest.mark.parametrize("encoder", ENCODERS),
    pytest.mark.parametrize("architecture", ARCHITECTURES),
]


def test_the_output_has_the_image_size(architecture, encoder, dims):
    net = network(architecture, encoder, dims).eval()
    assert net(image(dims)).shape == (2, 2, *SIZES[dims])


def test_hierarchical_networks_return_a_list_in_training_only(architecture, encoder, dims):
    net = network(architecture, encoder, dims)
    assert isinstance(net.train()(image(dims)), list) == (architecture in HIERARCHICAL)
    assert isinstance(net.eval()(image(dims)), torch.Tensor)


def test_gradients_reach_every_parameter(architecture, encoder, dims):
    net = network(architecture, encoder, dims)
    sum(t.square().mean() for t in tensors(net(image(dims)))).backward()
    without = [n for n, p in net.named_parameters() if p.grad is None or not p.grad.isfinite().all()]
    assert without == []


def test_any_divisible_size_works(architecture, encoder, dims):
    net = network(architecture, encoder, dims).eval()
    for size in ((40, 8), (8, 32)) if dims == 2 else ((8, 24, 8), (24, 8, 16)):
        assert net(torch.randn(1, 1, *size)).shape == (1, 2, *size)


def test_evaluation_is_deterministic(architecture, encoder, dims):
    net = network(architecture, encoder, dims).eval()
    x = image(dims)
    assert torch.equal(net(x), net(x))


def test_saved_weights_give_the_same_output(architecture, encoder, dims):
    net, other = network(architecture, encoder, dims), network(architecture, encoder, dims)
    file = io.BytesIO()
    torch.save(net.train().state_dict(), file)
    file.seek(0)
    other.eval().load_state_dict(torch.load(file, weights_only=True))
    x = image(dims)
    assert torch.equal(net.eval()(x), other(x))


def test_scripting_keeps_the_numbers_at_another_size(architecture, encoder, dims):
    net = network(architecture, encoder, dims).eval()
    scripted = torch.jit.script(net)
    x = torch.randn(1, 1, *((24, 8) if dims == 2 else (8, 16, 8)))
    torch.testing.assert_close(scripted(x), net(x))

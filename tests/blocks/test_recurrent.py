"""Recurrent convolutions against their recurrence."""

from __future__ import annotations

import pytest
import torch

from flemme_monai.blocks.recurrent import RecurrentConv, RecurrentResidual

SIZES = {2: (6, 5), 3: (3, 4, 5)}


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("steps", [0, 1, 3])
def test_a_convolution_sees_its_input_and_what_it_made(dims, steps):
    net, x = RecurrentConv(dims, 4, steps, norm="instance").eval(), torch.randn(2, 4, *SIZES[dims])
    layer = torch.nn.Sequential(net.conv, net.norm, net.act)
    states = [layer(x)]
    for _ in range(steps):
        states.append(layer(x + states[-1]))
    assert torch.equal(net(x), states[-1])
    torch.testing.assert_close(torch.jit.script(net)(x), net(x))


def test_running_statistics_are_those_of_their_step():
    torch.manual_seed(0)
    net, x = RecurrentConv(2, 4, 3), torch.randn(8, 4, 16, 16)
    for _ in range(200):
        trained = net.train()(x)
    torch.testing.assert_close(net.eval()(x), trained, atol=1e-2, rtol=0)
    torch.testing.assert_close(torch.jit.script(net)(x), net(x))


def test_steps_share_one_convolution():
    counts = {sum(p.numel() for p in RecurrentConv(2, 4, steps).parameters()) for steps in (0, 2, 5)}
    assert counts == {4 * 4 * 9 + 8}


def test_the_shortcut_starts_after_the_first_convolution():
    net, x = RecurrentResidual(2, 3, 4, norm=None), torch.randn(1, 3, 6, 5)
    for parameter in [*net.conv1.parameters(), *net.conv2.parameters()]:
        torch.nn.init.zeros_(parameter)
    assert torch.equal(net(x), net.proj(x))

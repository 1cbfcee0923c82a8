"""What U-Nets with attention gates do besides the table."""

from __future__ import annotations

import pytest
import torch

from flemme_monai.backbones.fuses import AttentionGate
from flemme_monai.blocks.recurrent import RecurrentConv
from tests.foreign import backbone


@pytest.mark.parametrize("key", ["attentionunet", "r2attentionunet"])
def test_all_four_levels_are_gated_by_the_decoder_s_feature(key):
    net, x = backbone(key, 2).eval(), torch.randn(1, 1, 32, 32)
    gates = list(net.decoder.fuses)
    assert [type(gate) for gate in gates] == [AttentionGate] * 4
    for gate in gates:  # closed gates let nothing of a skip through
        torch.nn.init.zeros_(gate.psi.conv.weight)
        torch.nn.init.constant_(gate.psi.norm.bias, -1e4)
    latent, skips = net.encode(x)
    assert torch.equal(
        net.decode(latent, skips).output, net.decode(latent, [torch.randn_like(s) for s in skips]).output
    )


def test_the_recurrent_net_without_gates_hands_its_skips_on():
    net, x = backbone("r2unet", 2).eval(), torch.randn(1, 1, 32, 32)
    latent, skips = net.encode(x)
    assert not torch.equal(net.decode(latent, skips).output, net.decode(latent, [s + 1 for s in skips]).output)


def test_the_published_network_has_two_recurrences():
    steps = {m.steps for m in backbone("r2unet", 2).modules() if isinstance(m, RecurrentConv)}
    assert steps == {2}
    assert {m.steps for m in backbone("r2unet", 2, steps=3).modules() if isinstance(m, RecurrentConv)} == {3}


def test_checkpointing_changes_no_gradient_under_shared_batch_norms():
    plain, saving = backbone("r2unet", 2), backbone("r2unet", 2, checkpointing=True)
    saving.load_state_dict(plain.state_dict())
    x, grads = torch.randn(2, 1, 32, 32), []
    for net in plain, saving:
        net.train()(x).output.square().mean().backward()
        grads.append([p.grad for p in net.parameters()])
    torch.testing.assert_close(*grads)
    torch.testing.assert_close(plain.state_dict(), saving.state_dict())

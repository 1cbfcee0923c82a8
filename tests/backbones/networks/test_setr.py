"""SETR: its positions are learned, its side outputs come from inner blocks."""

from __future__ import annotations

import pytest
import torch

from flemme_monai.architectures import SeM
from flemme_monai.backbones.networks import SETR
from flemme_monai.losses import pyramid_loss
from tests.foreign import backbone, image


def test_the_table_of_positions_is_a_parameter_that_training_changes():
    net = SeM(backbone("setr", 2)).train()
    table = dict(net.named_parameters())["backbone.encoder.pos_embed.grid"]
    before = table.detach().clone()
    optimizer = torch.optim.SGD(net.parameters(), 1.0)
    net(image(net.backbone)).square().mean().backward()
    optimizer.step()
    assert not torch.equal(table, before)


def test_side_outputs_are_of_the_image_size_and_of_the_deepest_block_first():
    net, seen = backbone("setr", 2, deep_supervision=True).train(), []
    for head in net.decoder.side_heads:
        head.register_forward_hook(lambda _, inputs, out: seen.append((inputs[0], out)))
    x = image(net)
    out = net(x)
    assert [side.shape for side in out.sides] == [out.output.shape] * 2
    assert out.sides[0] is seen[1][1]
    assert out.sides[1] is seen[0][1]
    assert net.side_weights == [0.4, 0.4]
    pyramid_loss(torch.nn.MSELoss(), net.num_sides)([out.output, *out.sides], torch.zeros_like(out.output)).backward()


@pytest.mark.parametrize("size", [(12, (4, 7, 9, 11)), (24, (9, 14, 19, 23))])
def test_the_published_blocks_are_tapped(size):
    depth, taps = size
    with torch.device("meta"):
        net = SETR(2, 3, 2, depth=depth, taps=taps, deep_supervision=True)
    assert net.encoder.is_tapped == [i in taps for i in range(depth)]
    assert net.num_sides == 4


def test_without_deep_supervision_no_feature_is_kept():
    net = backbone("setr", 2)
    assert net.encode(image(net))[1] == []
    assert len(net.decoder.side_heads) == 0


def test_its_logits_are_interpolated_by_two():
    net = backbone("setr", 2)
    layer, x = net.output_layer(), torch.randn(1, 8, 4, 6)
    assert layer.conv(x).shape[2:] == (4, 6)
    assert layer(x).shape[2:] == (8, 12)
    with pytest.raises(ValueError, match="interpolated by 2 without a learned layer"):
        net.require("denoise", "DDPM")


def test_weights_of_the_trunk_are_loaded(tmp_path):
    there = backbone("setr", 2)
    torch.save(there.encoder.state_dict(), tmp_path / "vit.pth")  # names that need no change
    here = backbone("setr", 2, encoder_weights=str(tmp_path / "vit.pth"))
    x = image(here)
    torch.testing.assert_close(here.encoder(x)[0], there.encoder(x)[0])


def test_without_side_outputs_it_scripts_too():
    net = backbone("setr", 2).eval()
    x = image(net)
    torch.testing.assert_close(torch.jit.script(net)(x).output, net(x).output)

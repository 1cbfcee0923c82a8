"""Mamba blocks over images."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from flemme_monai.backbones import MambaFamily
from flemme_monai.blocks import SCANS, MambaMixer, SelectiveScan, StateSpaceDuality, num_orders
from flemme_monai.ops import selective_scan, ssd_scan

KINDS = ("mamba", "mamba2")


def mixer(kind: str, dims: int, order: str = "cross", flip: bool = True) -> MambaMixer:
    """Two channels, four inner ones, two states."""
    orders = num_orders(dims, order, flip)
    scan = SelectiveScan(4, orders, 2, 1) if kind == "mamba" else StateSpaceDuality(4, orders, 2, 2)
    return MambaMixer(dims, 2, 4, scan, order=order, flip=flip)


def test_selective_scan_is_mambas_in_each_order():
    scan = SelectiveScan(4, 2, state_size=3, dt_rank=2)
    x, orders = torch.randn(2, 6, 4), torch.stack([torch.arange(6), torch.arange(6).flip(0)])
    found, expected = scan(x, orders, orders.argsort(1)), torch.zeros(2, 6, 4)
    weights = scan.x_proj.weight.view(2, 2 + 3 + 3, 4)
    for k, order in enumerate(orders):
        u = x[:, order]
        dt, b, c = F.linear(u, weights[k]).split([2, 3, 3], -1)
        y = selective_scan(
            u.mT, (dt @ scan.dt_proj[k]).mT, -scan.A_log[k].exp(), b.mT, c.mT, scan.D[k], None, scan.dt_bias[k], True
        )
        expected[:, order] += y.mT
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


def test_state_space_duality_is_mamba_2s_in_each_order():
    scan = StateSpaceDuality(4, 2, state_size=3, head_width=2)
    x, orders = torch.randn(2, 6, 4), torch.stack([torch.arange(6), torch.arange(6).flip(0)])
    found, expected = scan(x, orders, orders.argsort(1)), torch.zeros(2, 6, 4)
    weights = scan.x_proj.weight.view(2, 2 + 3 + 3, 4)
    for k, order in enumerate(orders):
        u = x[:, order]
        dt, b, c = F.linear(u, weights[k]).split([2, 3, 3], -1)
        y = ssd_scan(
            u.unflatten(-1, (2, 2)),
            dt,
            -scan.A_log[k].exp(),
            b.unsqueeze(2),
            c.unsqueeze(2),
            D=scan.D[k],
            dt_bias=scan.dt_bias[k],
            dt_softplus=True,
        )
        expected[:, order] += y.flatten(2)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


def test_it_equals_mambapys_block_along_a_line():
    """One row of tokens, one scan, a causal convolution and no norm before the gate: Mamba's own block."""
    mamba = pytest.importorskip("mambapy.mamba")
    theirs = mamba.MambaBlock(mamba.MambaConfig(d_model=8, n_layers=1, d_state=4, d_conv=4, pscan=False))
    scan = SelectiveScan(16, 1, state_size=4, dt_rank=1)
    ours = MambaMixer(2, 8, 16, scan, kernel_size=7, order="single", flip=False)
    ours.norm = nn.Identity()
    with torch.no_grad():
        for name in ("in_proj", "out_proj"):
            getattr(ours, name).weight.copy_(getattr(theirs, name).weight)
            getattr(ours, name).bias.zero_()
        ours.conv.weight.zero_()
        ours.conv.weight[:, :, 3, :4] = theirs.conv1d.weight  # the row itself, this token and the three before
        ours.conv.bias.copy_(theirs.conv1d.bias)
        scan.x_proj.weight.copy_(theirs.x_proj.weight)
        scan.dt_proj[0] = theirs.dt_proj.weight.T
        scan.dt_bias[0] = theirs.dt_proj.bias
        scan.A_log[0] = theirs.A_log
        scan.D[0] = theirs.D
    x = torch.randn(2, 30, 8)
    torch.testing.assert_close(ours(x.unsqueeze(1)).squeeze(1), theirs(x), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_step_sizes_begin_in_their_range(kind):
    scan = SelectiveScan(256, 1, 2, 1) if kind == "mamba" else StateSpaceDuality(256, 1, 2, 1)
    dt = F.softplus(scan.dt_bias)
    assert 0.001 <= dt.min() < 0.002
    assert 0.05 < dt.max() <= 0.1001


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("dims", "size"), [(2, (4, 6)), (3, (2, 3, 4))])
def test_every_position_sees_every_other(kind, dims, size):
    module = mixer(kind, dims)
    nn.init.constant_(module.scan.dt_bias, 1.0)  # a long memory shows in float32
    nn.init.constant_(module.scan.A_log, -3.0)
    x = torch.randn(1, *size, 2, requires_grad=True)
    (grad,) = torch.autograd.grad(module(x).flatten(1, -2)[0, 0].sum(), x)
    assert grad.abs().sum(-1).gt(0).all()


@pytest.mark.parametrize("kind", KINDS)
def test_without_flip_a_single_scan_looks_back_only(kind):
    module = mixer(kind, 2, "single", flip=False)
    module.conv = nn.Identity()
    x = torch.randn(1, 3, 4, 2, requires_grad=True)
    (grad,) = torch.autograd.grad(module(x).flatten(1, 2)[0, 5].sum(), x)
    assert grad.abs().sum(-1).flatten()[6:].eq(0).all()


@pytest.mark.parametrize("kind", KINDS)
def test_half_precision_is_stable(kind):
    """Decays, steps and states stay float32 under autocast."""
    torch.manual_seed(0)
    module = mixer(kind, 2)
    x = torch.randn(1, 16, 16, 2)
    expected = module(x)
    with torch.autocast("cpu", torch.bfloat16):
        found = module(x)
        found.float().sum().backward()
    assert float((found - expected).norm() / expected.norm()) < 0.02
    assert all(torch.isfinite(p.grad).all() and p.grad.dtype == torch.float32 for p in module.parameters())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_networks_may_be_cast(kind, dtype):
    module = mixer(kind, 2)
    x = torch.randn(1, 4, 6, 2)
    expected = module(x)
    found = module.to(dtype)(x.to(dtype))
    assert found.dtype == dtype
    assert float((found - expected).norm() / expected.norm()) < (0.05 if dtype == torch.bfloat16 else 1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_inference_mode_leaves_nothing_that_training_cannot_use(kind):
    module, x = mixer(kind, 2), torch.randn(1, 5, 9, 2)
    with torch.inference_mode():
        module(x)
    module(x).sum().backward()


@pytest.mark.parametrize("kind", KINDS)
def test_shapes_are_known_without_data(kind):
    x = torch.empty(1, 4, 6, 2, device="meta")
    assert mixer(kind, 2).to("meta")(x).shape == x.shape


@pytest.mark.parametrize("scan", SCANS)
@pytest.mark.parametrize("kind", KINDS)
def test_every_scan_leaves_python(kind, scan):
    module, x = mixer(kind, 2, scan).eval(), torch.randn(2, 4, 6, 2)
    other = torch.randn(1, 5, 7, 2)
    with torch.no_grad():
        torch.testing.assert_close(torch.jit.script(module)(other), module(other), rtol=1e-4, atol=1e-5)
        traced = torch.jit.trace(module, x)
        torch.testing.assert_close(traced(x), module(x), rtol=1e-4, atol=1e-5)
        if scan == "hilbert":
            with pytest.raises(RuntimeError):
                traced(other)
        else:
            torch.testing.assert_close(traced(other), module(other), rtol=1e-4, atol=1e-5)
        exported = torch.export.export(module, (x,)).module()
        torch.testing.assert_close(exported(x), module(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"block": "mamba3"}, "block is 'mamba3'; expected one of mamba, double_mamba, res_mamba, mamba2"),
        (
            {"scan": "zigzag"},
            "scan is zigzag; expected single, simplified, cross, snake, local or hilbert",
        ),
        ({"state_size": 0}, "state_size is 0; expected a whole number above 0"),
        ({"state_size": 2.5}, "state_size is 2.5; expected a whole number above 0"),
        ({"mlp_ratio": 0}, "mlp_ratio is 0; expected a number above 0"),
        ({"expansion": -1}, "expansion is -1; expected a number above 0"),
        ({"dt_range": (0.1,)}, r"dt_range is \(0.1,\); expected two rising numbers"),
        ({"dt_range": (0.1, 0.01)}, r"dt_range is \(0.1, 0.01\); expected two rising numbers"),
        ({"kernel_size": 4}, "kernel_size is 4; expected an odd whole number"),
    ],
)
def test_bad_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        MambaFamily(**settings)


def test_heads_must_fill_the_inner_channels():
    with pytest.raises(ValueError, match="head_width is 32; expected a divisor of the 48 inner channels"):
        MambaFamily(block="mamba2", expansion=1.5).make_block(2, 32, 0, 0, 0.0)


def test_sizes_are_one_value_or_one_a_level():
    family = MambaFamily(block="mamba2", state_size=[8, 4], head_width=[16, 32])
    scans = [family.make_block(2, 32, level, 0, 0.0).token_mixer.scan for level in (0, 1)]
    assert [scan.sizes for scan in scans] == [[4, 8, 8], [2, 4, 4]]
    ranks = MambaFamily(dt_rank=[None, 3])
    assert [ranks.make_block(2, 32, level, 0, 0.0).token_mixer.scan.sizes[0] for level in (0, 1)] == [2, 3]

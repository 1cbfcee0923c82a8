"""The functions and kernels that stand in for mamba_ssm's and causal_conv1d's, beside their formulas."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from flemme_monai.compat.mamba_ssm import convolution, convolution_kernels, gated_norms, mamba_kernels, norms
from flemme_monai.compat.mamba_ssm import vmamba_kernels as kernels
from flemme_monai.compat.mamba_ssm.inner import bimamba_inner_fn, mamba_inner_fn, mamba_inner_fn_no_out_proj
from flemme_monai.compat.mamba_ssm.mamba import Mamba
from flemme_monai.compat.mamba_ssm.scans import selective_scan_fn, selective_scan_ref
from flemme_monai.compat.mamba_ssm.ssd import mamba_chunk_scan_combined
from flemme_monai.compat.mamba_ssm.state_update import selective_state_update
from flemme_monai.ops import selective_scan, ssd_scan
from tests.compat import literal
from tests.ops.scans import selective_inputs, ssd_inputs


def close(found: torch.Tensor, expected: torch.Tensor, tolerance: float = 1e-5) -> bool:
    return found.shape == expected.shape and literal.relative(found, expected.double()) < tolerance


@pytest.mark.parametrize("constant", ["B", "C", "BC"])
def test_b_and_c_may_be_constant_in_time(constant: str) -> None:
    inputs = selective_inputs(groups=2, channels=6)
    with torch.no_grad():
        for name in constant:
            inputs[name] = torch.randn(6, 3)
        varying = {n: v.repeat_interleave(3, 1) if v.ndim == 4 else v for n, v in inputs.items()}
        varying |= {n: inputs[n][None, :, :, None].expand(2, 6, 3, 70) for n in constant}
        assert close(selective_scan_fn(**inputs, delta_softplus=True), selective_scan(**varying, delta_softplus=True))


def test_the_reference_is_the_same_scan() -> None:
    inputs = selective_inputs()
    found, expected = (
        f(**inputs, delta_softplus=True, return_last_state=True) for f in (selective_scan_fn, selective_scan_ref)
    )
    assert all(close(a, b.detach()) for a, b in zip(found, expected))


def test_the_inside_of_a_block_is_a_function() -> None:
    """As forks of Mamba's block call it, channels first."""
    block, x = Mamba(12, d_state=5, bimamba_type="v1"), torch.randn(2, 20, 12)
    xz = block.in_proj(x).mT
    common = (xz, block.conv1d.weight, block.conv1d.bias, block.x_proj.weight, block.dt_proj.weight)
    out = (block.out_proj.weight, block.out_proj.bias)
    A, A_b = -block.A_log.exp(), -block.A_b_log.exp()
    named = {"delta_bias": block.dt_proj.bias, "delta_softplus": True}
    assert close(bimamba_inner_fn(*common, *out, A, A_b, None, None, block.D, **named), block(x).detach())
    one = Mamba(12, d_state=5)
    one.load_state_dict({name: v for name, v in block.state_dict().items() if name != "A_b_log"})
    expected = one(x).detach()
    assert close(mamba_inner_fn(*common, *out, A, None, None, block.D, **named), expected)
    inner = mamba_inner_fn_no_out_proj(*common, A, None, None, block.D, **named)
    assert inner.shape == (2, 24, 20)
    assert close(F.linear(inner.mT, *out), expected)
    rows = block.x_proj(F.silu(block.conv1d(xz[:, :24])[..., :20]).mT).mT  # step sizes, B and C, as given
    B, C = rows[:, 1:6], rows[:, 6:]
    assert close(mamba_inner_fn(*common, *out, A, B, None, block.D, **named), expected)
    assert close(mamba_inner_fn(*common, *out, A, B, C, block.D, **named), expected)


def test_step_sizes_b_and_c_may_be_normalised_and_shifted() -> None:
    block = Mamba(12, d_state=5)
    xz = torch.randn(2, 48, 20)
    weights = {name: v.detach().double() for name, v in block.named_parameters()}
    shift_b, shift_c, norm_b, norm_c, norm_dt = (
        torch.randn(5),
        torch.randn(5),
        torch.rand(5),
        torch.rand(5),
        torch.rand(24),
    )

    def normed(v: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        return v * (v.square().mean(1, keepdim=True) + 1e-5).rsqrt() * weight.double()[:, None]

    x, z = xz.double().chunk(2, 1)
    x = F.silu(literal.convolved(x, weights["conv1d.weight"], weights["conv1d.bias"]))
    dt, B, C = (weights["x_proj.weight"] @ x).split([1, 5, 5], 1)
    B, C = normed(B + shift_b[:, None], norm_b), normed(C + shift_c[:, None], norm_c)
    delta = F.softplus(normed(weights["dt_proj.weight"] @ dt, norm_dt) + weights["dt_proj.bias"][:, None])
    y = literal.recurrence(x, delta, -weights["A_log"].exp(), B, C, weights["D"]) * F.silu(z)
    found = mamba_inner_fn(
        xz,
        block.conv1d.weight,
        block.conv1d.bias,
        block.x_proj.weight,
        block.dt_proj.weight,
        block.out_proj.weight,
        None,
        -block.A_log.exp(),
        D=block.D,
        delta_bias=block.dt_proj.bias,
        B_proj_bias=shift_b,
        C_proj_bias=shift_c,
        b_rms_weight=norm_b,
        c_rms_weight=norm_c,
        dt_rms_weight=norm_dt,
        b_c_dt_rms_eps=1e-5,
    )
    assert close(found, y.mT @ weights["out_proj.weight"].T)


@pytest.mark.parametrize("width", [2, 4])
@pytest.mark.parametrize("length", [1, 3, 11])
def test_the_convolution_looks_back_only(width: int, length: int) -> None:
    x, weight, bias = torch.randn(2, 5, length), torch.randn(5, width), torch.randn(5)
    expected = literal.convolved(x.double(), weight.double()[:, None], bias.double())
    assert close(convolution.causal_conv1d_fn(x, weight, bias), expected)
    assert close(convolution.causal_conv1d_fn(x, weight, bias, activation="silu"), F.silu(expected))
    assert close(convolution.causal_conv1d_fn(x, weight, bias, "silu"), F.silu(expected))  # as of version 1.0
    assert close(convolution.causal_conv1d_fn(x.mT.contiguous().mT, weight), expected - bias[:, None])


def test_a_convolution_goes_on_where_it_was() -> None:
    x, weight, bias = torch.randn(2, 5, 12), torch.randn(5, 4), torch.randn(5)
    whole = convolution.causal_conv1d_fn(x, weight, bias)
    for cut in (1, 7):
        first, state = convolution.causal_conv1d_fn(x[..., :cut], weight, bias, return_final_states=True)
        space = torch.zeros_like(state)
        rest, last = convolution.causal_conv1d_fn(
            x[..., cut:], weight, bias, initial_states=state, return_final_states=True, final_states_out=space
        )
        assert close(torch.cat([first, rest], -1), whole)
        assert torch.equal(last, x[..., -3:])
        assert torch.equal(space, last)
        stepped = torch.cat([torch.zeros(2, 5, 4 - state.shape[-1]), state], -1)
        moved = convolution.causal_conv1d_update(x[..., cut:], stepped, weight, bias)
        assert close(moved, rest)
        assert torch.equal(stepped, x[..., -4:])


@pytest.mark.parametrize("options", [("dx", True), (None, "dx", True), (None, None, None, "dx", False, True)])
def test_the_convolutions_kernels_of_all_versions(options: tuple) -> None:
    x, weight, bias, dy = torch.randn(2, 5, 9), torch.randn(5, 4), torch.randn(5), torch.randn(2, 5, 9)
    given = [v.requires_grad_() for v in (x, weight, bias)]
    y = F.silu(literal.convolved(x, weight[:, None], bias))
    expected = torch.autograd.grad(y, given, dy)
    forward = tuple(option for option in options if option != "dx" and option is not False)
    assert close(convolution_kernels.causal_conv1d_fwd(*given, *forward), y.detach())
    space = torch.zeros_like(x.detach())
    options = tuple(space if option == "dx" else option for option in options)
    found = convolution_kernels.causal_conv1d_bwd(*given, dy, *options)
    assert all(close(a, b) for a, b in zip(found, expected))
    assert torch.equal(space, found[0])


def test_steps_of_scans_are_their_sequences() -> None:
    inputs = {name: v.detach() for name, v in selective_inputs(groups=1).items()}
    fixed = {name: inputs[name] for name in ("A", "D")}
    whole, last = selective_scan(**inputs, delta_softplus=True, return_last_state=True)
    state, out = torch.zeros(2, 6, 3), []
    for t in range(70):
        row = {"x": inputs["u"], "dt": inputs["delta"], "z": inputs["z"]}
        row = {name: v[..., t] for name, v in row.items()} | {n: inputs[n][:, 0, :, t] for n in "BC"}
        out.append(selective_state_update(state, **row, **fixed, dt_bias=inputs["delta_bias"], dt_softplus=True))
    assert close(torch.stack(out, -1), whole)
    assert close(state, last)


def test_a_scan_of_mamba2_is_ours_whatever_its_chunks() -> None:
    inputs = {name: v.detach() for name, v in ssd_inputs().items()}
    found = mamba_chunk_scan_combined(**inputs, chunk_size=256, dt_softplus=True, return_final_states=True)
    expected = ssd_scan(**inputs, dt_softplus=True, return_final_states=True)
    assert all(torch.equal(a, b) for a, b in zip(found, expected))
    with pytest.raises(NotImplementedError, match="packed sequences"):
        mamba_chunk_scan_combined(**inputs, chunk_size=64, seq_idx=torch.zeros(2, 70, dtype=torch.int32))


@pytest.mark.parametrize("is_rms_norm", [True, False])
def test_norms_with_a_residual(is_rms_norm: bool) -> None:
    x, residual, weight, bias = torch.randn(2, 7, 6), torch.randn(2, 7, 6), torch.randn(6), torch.randn(6)
    total = (x + residual).double()
    centre = 0 if is_rms_norm else total.mean(-1, keepdim=True)
    scale = ((total - centre).square().mean(-1, keepdim=True) + 1e-5).rsqrt()
    expected = (total - centre) * scale * weight + bias
    y, kept = norms.layer_norm_fn(x, weight, bias, residual=residual, eps=1e-5, prenorm=True, is_rms_norm=is_rms_norm)
    assert close(y, expected)
    assert torch.equal(kept, x + residual)
    half = norms.layer_norm_fn(x.bfloat16(), weight, bias, prenorm=True, residual_in_fp32=True, is_rms_norm=is_rms_norm)
    assert [v.dtype for v in half] == [torch.bfloat16, torch.float32]


@pytest.mark.parametrize("make", [gated_norms.RMSNorm, gated_norms.LayerNorm])
@pytest.mark.parametrize("before", [True, False])
def test_gated_norms_over_groups(make: type, before: bool) -> None:
    norm, x, z = make(6, group_size=3, norm_before_gate=before), torch.randn(2, 7, 6), torch.randn(2, 7, 6)
    rows = (x if before else x * F.silu(z)).double().unflatten(-1, (2, 3))
    centre = rows.mean(-1, keepdim=True) if make is gated_norms.LayerNorm else 0
    rows = (rows - centre) * ((rows - centre).square().mean(-1, keepdim=True) + 1e-5).rsqrt()
    expected = rows.flatten(-2) * (F.silu(z) if before else 1)
    assert close(norm(x, z), expected)


@pytest.mark.parametrize("length", [5, 64, 150])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_kernels_have_the_scans_two_passes(length: int, dtype: torch.dtype) -> None:
    """As an autograd function over ``fwd`` and ``bwd`` would call them; float64 goes through the scan in PyTorch."""
    inputs = selective_inputs(length=length, dtype=dtype)
    z = inputs["z"]
    y, last = selective_scan(**inputs, delta_softplus=True, return_last_state=True)
    dy = torch.randn_like(y)
    names = ("u", "delta", "A", "B", "C", "D", "delta_bias")
    expected = torch.autograd.grad(y, [*(inputs[name] for name in names), z], dy)
    with torch.no_grad():
        tensors = [inputs[name] for name in names]
        out, states, gated = mamba_kernels.fwd(*tensors[:6], z, tensors[6], True)
        assert close(gated, y)
        assert close(states[:, :, -1, 1::2], last)
        space = torch.zeros_like(z)
        found = mamba_kernels.bwd(*tensors[:6], z, tensors[6], dy, states, out, space, True, True)
    assert all(close(a, b) for a, b in zip(found, expected))
    assert torch.equal(space, found[7])
    assert close(found[8], y)


def test_kernels_without_gate_skip_and_bias() -> None:
    inputs = selective_inputs()
    names = ("u", "delta", "A", "B", "C")
    y = selective_scan(*(inputs[name] for name in names), delta_softplus=True)
    expected = torch.autograd.grad(y, [inputs[name] for name in names], torch.ones_like(y))
    tensors = [inputs[name].detach() for name in names]
    out, states = kernels.fwd(*tensors, None, None, True, 1)
    found = kernels.bwd(*tensors, None, None, torch.ones_like(y), states, True, 1)
    assert close(out, y.detach())
    assert all(close(a, b) for a, b in zip(found, expected))
    assert found[5:] == [None, None]
    half = [tensors[0].bfloat16(), tensors[1].bfloat16(), tensors[2], tensors[3].bfloat16(), tensors[4].bfloat16()]
    assert kernels.fwd(*half, None, None, True, 1, True)[0].dtype == torch.float32
    assert kernels.fwd(*half, None, None, True, 1, False)[0].dtype == torch.bfloat16

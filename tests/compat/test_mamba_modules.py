"""The blocks that stand in for mamba_ssm's, beside the papers' recurrences: same weights, same numbers."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import nn

from flemme_monai.compat.mamba_ssm.block import Block, SimpleBlock
from flemme_monai.compat.mamba_ssm.inference import InferenceParams
from flemme_monai.compat.mamba_ssm.mamba import Mamba
from flemme_monai.compat.mamba_ssm.mamba2 import Mamba2
from flemme_monai.compat.mamba_ssm.norms import RMSNorm
from tests.compat import literal


def randomized(block: nn.Module) -> nn.Module:
    """Its weights away from where they start, so that no two of them are alike."""
    with torch.no_grad():
        for parameter in block.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return block


@pytest.mark.parametrize("kind", ["none", "v1", "v2", "v3"])
def test_mamba_is_the_recurrence_in_every_direction(kind: str) -> None:
    block = randomized(Mamba(12, d_state=5, bimamba_type=kind, nslices=4))
    weights = dict(block.named_parameters())
    literal.compare(block, weights, partial(literal.mamba, kind=kind, slices=4), torch.randn(2, 24, 12))


def test_mamba_has_the_names_and_sizes_of_published_weights() -> None:
    def sizes(**options: object) -> dict[str, tuple[int, ...]]:
        return {name: tuple(v.shape) for name, v in Mamba(32, **options).state_dict().items()}

    own = {
        "A_log": (64, 16),
        "D": (64,),
        "in_proj.weight": (128, 32),
        "conv1d.weight": (64, 1, 4),
        "conv1d.bias": (64,),
        "x_proj.weight": (34, 64),
        "dt_proj.weight": (64, 2),
        "dt_proj.bias": (64,),
        "out_proj.weight": (32, 64),
    }
    direction = ("A{}_log", "D{}", "conv1d{}.weight", "conv1d{}.bias", "x_proj{}.weight")
    direction += ("dt_proj{}.weight", "dt_proj{}.bias")
    backwards, sliced = ({name.format(s): own[name.format("")] for name in direction} for s in ("_b", "_s"))
    assert sizes() == own
    assert sizes(bimamba_type="v1") == own | {"A_b_log": (64, 16)}
    assert sizes(bimamba_type="v2") == sizes(bimamba=True) == own | backwards
    assert sizes(bimamba_type="v3") == own | backwards | sliced
    assert sizes(bimamba_type="v2", init_layer_scale=0.1) == own | backwards | {"gamma": (32,)}
    assert set(sizes(bias=True)) == {*own, "in_proj.bias", "out_proj.bias"}


def test_what_networks_ask_parameters_for_is_there() -> None:
    block = Mamba(16, bimamba_type="v3")
    marked = {name for name, v in block.named_parameters() if getattr(v, "_no_weight_decay", False)}
    assert marked == {"A_log", "A_b_log", "A_s_log", "D", "D_b", "D_s"}
    assert block.dt_proj.bias._no_reinit
    steps = nn.functional.softplus(block.dt_proj.bias)
    assert 1e-3 * 0.99 < steps.min() < steps.max() < 0.1 * 1.01


@pytest.mark.parametrize("name", ["if_devide_out", "if_divide_out"])
def test_both_directions_are_summed_or_averaged(name: str) -> None:
    whole, x = Mamba(8, bimamba_type="v2"), torch.randn(1, 6, 8)
    mean = Mamba(8, bimamba_type="v2", **{name: True})
    mean.load_state_dict(whole.state_dict())
    assert torch.allclose(whole(x), 2 * mean(x), atol=1e-6)


def test_the_output_has_the_factor_of_its_channels() -> None:
    plain, x = Mamba(8), torch.randn(1, 6, 8)
    scaled = Mamba(8, init_layer_scale=0.5)
    scaled.load_state_dict(plain.state_dict(), strict=False)
    assert torch.allclose(plain(x), 2 * scaled(x), atol=1e-6)


@pytest.mark.parametrize(
    ("options", "arguments"),
    [
        ({"headdim": 4, "d_state": 5}, {"width": 4, "groups": 1}),
        ({"headdim": 4, "d_state": 5, "ngroups": 3}, {"width": 4, "groups": 3}),
        ({"headdim": 4, "d_ssm": 16}, {"width": 4, "groups": 1, "gated": 8}),
        ({"headdim": 4, "D_has_hdim": True}, {"width": 4, "groups": 1}),
        ({"headdim": 4, "norm_before_gate": True}, {"width": 4, "groups": 1, "norm_before_gate": True}),
    ],
)
def test_mamba2_is_the_recurrence(options: dict, arguments: dict) -> None:
    block = randomized(Mamba2(12, **options))
    literal.compare(block, dict(block.named_parameters()), partial(literal.mamba2, **arguments), torch.randn(2, 70, 12))


def test_mamba2_has_the_names_and_sizes_of_published_weights() -> None:
    assert {name: tuple(v.shape) for name, v in Mamba2(64).state_dict().items()} == {
        "dt_bias": (2,),
        "A_log": (2,),
        "D": (2,),
        "in_proj.weight": (2 * 128 + 2 * 128 + 2, 64),
        "conv1d.weight": (128 + 2 * 128, 1, 4),
        "conv1d.bias": (128 + 2 * 128,),
        "norm.weight": (128,),
        "out_proj.weight": (64, 128),
    }


def test_mamba2_takes_rows_of_sequences_in_one() -> None:
    block, x = Mamba2(8, headdim=4), torch.randn(3, 10, 8)
    assert torch.allclose(block(x.flatten(0, 1), seqlen=10).view(x.shape), block(x), atol=1e-6)


STEPWISE = [
    (Mamba, {}),
    (Mamba, {"d_conv": 3, "conv_bias": False}),
    (Mamba2, {"headdim": 4}),
    (Mamba2, {"headdim": 4, "ngroups": 2, "d_ssm": 16, "dt_limit": (0.01, 0.05)}),
    (Mamba2, {"headdim": 4, "D_has_hdim": True, "rmsnorm": False}),
]


@pytest.mark.parametrize(("make", "options"), STEPWISE)
@pytest.mark.parametrize("first", [2, 9])
@torch.no_grad()
def test_steps_are_the_whole_sequence(make: type[nn.Module], options: dict, first: int) -> None:
    block, x = randomized(make(12, layer_idx=3, **options)), torch.randn(2, 17, 12)
    cache = InferenceParams(max_seqlen=17, max_batch_size=2)
    out = [block(x[:, :first], inference_params=cache)]
    cache.seqlen_offset = first
    while cache.seqlen_offset < 17:
        t = cache.seqlen_offset
        out.append(block(x[:, t : t + 1], inference_params=cache))
        cache.seqlen_offset += 1
    assert torch.allclose(torch.cat(out, 1), block(x), atol=1e-5)


@pytest.mark.parametrize("make", [Mamba, partial(Mamba2, headdim=4)])
@torch.no_grad()
def test_steps_from_nothing(make: type[nn.Module]) -> None:
    block, x = make(12), torch.randn(2, 7, 12)
    states = block.allocate_inference_cache(2, 7)
    out = [block.step(x[:, t : t + 1], *states)[0] for t in range(7)]
    assert torch.allclose(torch.cat(out, 1), block(x), atol=1e-5)


@torch.no_grad()
def test_a_cache_can_begin_again() -> None:
    block, x = Mamba(8, layer_idx=0), torch.randn(1, 5, 8)
    cache = InferenceParams(5, 1)
    first = block(x, inference_params=cache)
    cache.reset(5, 1)
    assert torch.equal(block(x, inference_params=cache), first)
    states = block._get_states_from_cache(cache, 1, initialize_states=True)
    assert all(not state.any() for state in states)


def test_a_block_adds_its_residual_before_the_norm() -> None:
    """Two blocks in a row are two residual connections, however norm and sum are computed."""
    x = torch.randn(2, 9, 8)
    mixer = partial(Mamba, layer_idx=0)
    for norm in (nn.LayerNorm, RMSNorm):
        blocks = [SimpleBlock(8, mixer, norm_cls=norm, fused_add_norm=fused) for fused in (False, True)]
        blocks[1].load_state_dict(blocks[0].state_dict())
        for block in blocks:
            hidden, residual = block(*block(x))
            expected = x + block.mixer(block.norm(x))
            expected = expected + block.mixer(block.norm(expected))
            assert torch.allclose(hidden + residual, expected, atol=1e-5)


def test_a_block_with_an_mlp() -> None:
    x = torch.randn(2, 9, 8)
    for fused in (False, True):
        block = Block(8, Mamba, lambda dim: nn.Linear(dim, dim), fused_add_norm=fused, residual_in_fp32=True)
        hidden, residual = block(x)
        expected = x + block.mixer(block.norm(x))
        expected = expected + block.mlp(block.norm2(expected))
        assert torch.allclose(hidden + residual, expected, atol=1e-5)
        assert residual.dtype == torch.float32


@pytest.mark.parametrize("make", [partial(Mamba, bimamba_type="v2"), partial(Mamba2, headdim=4)])
def test_half_precision_follows_single(make: type[nn.Module]) -> None:
    block, x = make(16), torch.randn(2, 40, 16)
    expected = block(x)
    with torch.autocast("cpu", torch.bfloat16):
        found = block(x)
        found.sum().backward()
    assert (found - expected).abs().max() < 0.05 * expected.abs().max()
    assert block.to(torch.bfloat16)(x.bfloat16()).dtype == torch.bfloat16


@pytest.mark.parametrize("make", [partial(Mamba, bimamba_type="v3", nslices=2), partial(Mamba2, headdim=4)])
@torch.no_grad()
def test_blocks_leave_python(make: type[nn.Module]) -> None:
    block, x = make(8).eval(), torch.randn(2, 12, 8)
    expected = block(x)
    assert torch.allclose(torch.jit.trace(block, x)(x), expected, atol=1e-5)
    assert torch.allclose(torch.export.export(block, (x,)).module()(x), expected, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("make", [partial(Mamba, bimamba_type="v3", nslices=2), partial(Mamba2, headdim=4)])
def test_blocks_are_compiled(make: type[nn.Module]) -> None:
    block, x = make(8), torch.randn(2, 12, 8)
    results = []
    for run in (block, torch.compile(block)):
        y = run(x)
        results.append((y, *torch.autograd.grad(y.square().sum(), list(block.parameters()))))
    assert all(torch.allclose(a, b, atol=1e-4, rtol=1e-4) for a, b in zip(*results))


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda: Mamba(8, bimamba_type="v4"), "bimamba_type is 'v4'; expected one of none, v1, v2, v3"),
        (lambda: Mamba(8, dt_init="zeros"), "dt_init is 'zeros'"),
        (lambda: Mamba(8, bimamba_type="v3")(torch.ones(1, 7, 8)), "nslices is 5; expected a divisor of the 7 steps"),
        (
            lambda: Mamba(8, bimamba_type="v2", layer_idx=0)(torch.ones(1, 7, 8), InferenceParams(7, 1)),
            "expected 'none'",
        ),
        (lambda: Mamba(8)(torch.ones(1, 7, 8), InferenceParams(7, 1)), "layer_idx is None"),
        (lambda: Mamba(8).step(torch.ones(1, 2, 8), *Mamba(8).allocate_inference_cache(1, 1)), "2 steps are given"),
        (lambda: Mamba2(8, headdim=5), "headdim is 5"),
    ],
)
def test_what_cannot_be_done_is_said(act, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        act()


def test_packed_sequences_are_refused() -> None:
    with pytest.raises(NotImplementedError, match="packed sequences"):
        Mamba2(8, headdim=4)(torch.ones(1, 7, 8), seq_idx=torch.zeros(1, 7, dtype=torch.int32))

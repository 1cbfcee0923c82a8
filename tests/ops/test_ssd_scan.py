"""The scan of Mamba-2: every backend against the recurrence in float64."""

from __future__ import annotations

import math
import sys
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from flemme_monai.ops import SSDInputs, selective_scan, ssd_scan, ssd_torch
from flemme_monai.ops.ssd_scan import _scan
from tests.ops.scans import double, error, gradients, ssd_inputs

SSD = sys.modules["flemme_monai.ops.ssd_scan"]  # the function of its name hides it
TOLERANCE = 1e-5


def assert_exact(inputs: dict[str, torch.Tensor], chunk: int = 64, tolerance: float = TOLERANCE, **options) -> None:
    """Output, last state and all gradients agree with the recurrence in float64."""
    exact_inputs = double(inputs)
    y, last = ssd_scan(**inputs, chunk_size=chunk, **options, return_final_states=True, backend="torch")
    exact = ssd_scan(**exact_inputs, **options, return_final_states=True, backend="reference")
    assert error(y, exact[0]) < TOLERANCE
    assert error(last, exact[1]) < TOLERANCE
    together = torch.cat([y.flatten(), last.flatten()])
    found = gradients(together, inputs)
    expected = gradients(torch.cat([part.flatten() for part in exact]), exact_inputs)
    errors = {name: error(found[name], expected[name]) for name in inputs}
    assert max(errors.values()) < tolerance, errors


def test_it_is_the_selective_scan_with_one_decay_a_head():
    inputs = {name: x.detach() for name, x in ssd_inputs().items() if name != "initial_states"}
    heads, width, states = 4, 5, 3
    channels = {
        "u": inputs["x"].flatten(2).mT,
        "delta": inputs["dt"].mT.repeat_interleave(width, 1),
        "A": inputs["A"].repeat_interleave(width)[:, None].expand(heads * width, states),
        "B": inputs["B"].permute(0, 2, 3, 1),
        "C": inputs["C"].permute(0, 2, 3, 1),
        "D": inputs["D"].repeat_interleave(width),
        "z": inputs["z"].flatten(2).mT,
        "delta_bias": inputs["dt_bias"].repeat_interleave(width),
    }
    expected = selective_scan(**channels, delta_softplus=True).mT.unflatten(2, (heads, width))
    torch.testing.assert_close(ssd_scan(**inputs, dt_softplus=True), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("softplus", [False, True])
def test_forward_and_gradients(softplus):
    inputs = ssd_inputs()
    if not softplus:
        with torch.no_grad():
            inputs["dt"].abs_()
            inputs["dt_bias"].abs_()
    assert_exact(inputs, dt_softplus=softplus)


def test_many_chunks_are_taken_in_parts(monkeypatch):
    inputs = ssd_inputs(length=130)
    whole = ssd_scan(**inputs, chunk_size=16)
    monkeypatch.setattr(ssd_torch, "ENTRIES", 2 * 2 * 4 * 16**2)  # two chunks at once
    assert_exact(inputs, 16, dt_softplus=True)
    torch.testing.assert_close(ssd_scan(**inputs, chunk_size=16), whole)


@pytest.mark.parametrize("without", ["D", "z", "dt_bias", "initial_states"])
def test_what_is_optional_may_be_left_out(without):
    inputs = ssd_inputs()
    del inputs[without]
    assert_exact(inputs, dt_softplus=True)


def test_a_skip_for_every_channel():
    inputs = ssd_inputs()
    inputs["D"] = torch.randn(4, 5, requires_grad=True)
    assert_exact(inputs, dt_softplus=True)


def test_step_sizes_are_limited_after_softplus():
    inputs = ssd_inputs()
    assert_exact(inputs)  # without softplus: negative steps become 0
    assert_exact(inputs, dt_limit=(-2.0, 1.0))
    assert_exact(inputs, dt_softplus=True, dt_limit=(0.5, 1.0))
    del inputs["dt_bias"]
    limited = dict(inputs, dt=inputs["dt"].clamp(0.5, 1.0))
    expected = ssd_scan(**limited, backend="torch")
    assert torch.equal(ssd_scan(**inputs, dt_limit=(0.5, 1.0), backend="torch"), expected)


@given(
    images=st.integers(1, 3),
    groups=st.integers(1, 2),
    repeat=st.integers(1, 3),
    width=st.sampled_from([1, 4, 9]),
    states=st.integers(1, 5),
    length=st.sampled_from([1, 2, 15, 16, 17, 40]),
    chunk=st.sampled_from([1, 5, 16, 64]),
)
@settings(max_examples=15, deadline=None, derandomize=True)
def test_any_shape_and_chunk(images, groups, repeat, width, states, length, chunk):
    assert_exact(
        ssd_inputs(images, groups, groups * repeat, width, states, length), chunk, 1e-4, dt_softplus=True
    )  # a gradient of few numbers may cancel


@pytest.mark.parametrize("decay", [1e-4, 1.0, 64.0])
@pytest.mark.parametrize("step", [1e-6, 1e-3, 1.0, 1e3])
def test_any_step_size_and_decay(step, decay):
    inputs = ssd_inputs(length=130)
    with torch.no_grad():
        inputs["dt"].uniform_(0, step)
        inputs["dt_bias"].zero_()
        inputs["A"].uniform_(-decay, -decay / 2)
    assert_exact(inputs)


def test_tiny_and_huge_steps_side_by_side():
    """Where differences of float32 sums lose four digits."""
    inputs = ssd_inputs(length=130)
    with torch.no_grad():
        inputs["dt"].copy_(10 ** torch.empty_like(inputs["dt"]).uniform_(-6, 3))
        inputs["dt_bias"].zero_()
    assert_exact(inputs)


def test_gradcheck_in_float64():
    inputs = ssd_inputs(1, 1, 2, 3, 2, 7, torch.float64)
    names = list(inputs)

    def run(*tensors: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return ssd_scan(**dict(zip(names, tensors)), chunk_size=3, dt_softplus=True, return_final_states=True)

    assert torch.autograd.gradcheck(run, tuple(inputs.values()))


@pytest.mark.parametrize("empty", [{"images": 0}, {"length": 0}])
def test_nothing_gives_nothing(empty):
    inputs = ssd_inputs(**empty)
    assert ssd_scan(**inputs, dt_softplus=True).shape == inputs["x"].shape


def test_autocast_changes_nothing_inside():
    inputs = ssd_inputs()
    expected = ssd_scan(**inputs, dt_softplus=True)
    exact = gradients(expected, inputs)
    with torch.autocast("cpu", torch.bfloat16):
        y = ssd_scan(**inputs, dt_softplus=True)
        found = gradients(y, inputs)
    assert torch.equal(y, expected)
    assert all(torch.equal(found[name], exact[name]) for name in inputs)


def test_compilers_may_rely_on_the_operator():
    def leaf(*shape: int) -> torch.Tensor:
        return torch.rand(shape).neg().requires_grad_()

    inputs = (leaf(2, 2, 70, 3, 4), leaf(2, 2, 70, 3), leaf(2, 3), leaf(2, 2, 70, 5), leaf(2, 2, 70, 5))
    torch.library.opcheck(_scan, (*inputs, leaf(2, 3), leaf(2, 3), leaf(2, 2, 5, 3, 4), True, 64))


def test_mamba_ssms_kernel_gets_its_own_layout(monkeypatch):
    """The recurrence in the kernel's place, which takes what ``mamba_chunk_scan_combined`` takes."""
    monkeypatch.setattr(SSD, "ssd_kernel", lambda: partial(ssd_scan, backend="reference"))
    shapes = [(2, 3, 7, 4, 6), (2, 3, 7, 4), (3, 4), (2, 3, 7, 5), (2, 3, 7, 5), (3, 4), (3, 4), (2, 3, 5, 4, 6)]
    inputs = SSDInputs(*(-torch.rand(shape) for shape in shapes))
    found, last = SSD._cuda(inputs, True, 64)
    expected, expected_last, _ = ssd_torch.forward(inputs, True, 64)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(last, expected_last)


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("x", (2, 70, 4), "x is (2, 70, 4)"),
        ("dt", (2, 70, 3), "dt is (2, 70, 3); expected (2, 70, 4)"),
        ("A", (4, 3), "A is (4, 3); expected (4,)"),
        ("C", (2, 70, 1, 3), "C is (2, 70, 1, 3); expected (2, 70, 2, 3)"),
        ("D", (4, 4), "D is (4, 4); expected (4, 5)"),
        ("initial_states", (2, 4, 3, 5), "initial_states is (2, 4, 3, 5); expected (2, 4, 5, 3)"),
    ],
)
def test_shapes_that_do_not_fit_are_named(name, shape, message):
    inputs = dict(ssd_inputs(), **{name: torch.zeros(shape)})
    with pytest.raises(ValueError, match=r"ssd scan: ") as caught:
        ssd_scan(**inputs)
    assert message in str(caught.value)


def test_other_mistakes_are_refused():
    inputs = ssd_inputs()
    with pytest.raises(ValueError, match="chunk_size is 0"):
        ssd_scan(**inputs, chunk_size=0)
    with pytest.raises(ValueError, match=r"numba backend cannot run ssd scan .* use one of torch, reference"):
        ssd_scan(**inputs, backend="numba")
    for name in ("B", "C"):
        inputs[name] = torch.zeros(2, 70, 3, 3)
    with pytest.raises(ValueError, match="3 groups do not divide 4 heads"):
        ssd_scan(**inputs)


def test_the_last_state_carries_a_scan_on():
    inputs = {name: x.detach() for name, x in ssd_inputs(length=100).items()}
    whole = ssd_scan(**inputs, dt_softplus=True)
    state = inputs.pop("initial_states")
    parts = []
    for steps in (slice(0, 37), slice(37, 100)):
        part = {name: x[:, steps] if x.ndim > 2 else x for name, x in inputs.items()}
        y, state = ssd_scan(**part, initial_states=state, dt_softplus=True, return_final_states=True)
        parts.append(y)
    torch.testing.assert_close(torch.cat(parts, 1), whole, rtol=1e-4, atol=1e-5)
    assert math.isfinite(float(state.sum()))

"""The selective scan: every backend against the recurrence in float64."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from flemme_monai.ops import (
    SelectiveScanInputs,
    backends,
    grouped_selective_scan,
    numba_backend,
    reference,
    selective_scan,
    ssd_scan,
    torch_backend,
)
from flemme_monai.ops.selective_scan import _numba, _torch
from tests.ops.scans import double, error, gradients, selective_inputs, ssd_inputs

BACKENDS = ("torch", "numba")
TOLERANCE = 1e-5
SELECTIVE = sys.modules["flemme_monai.ops.selective_scan"]  # the function of its name hides it
ROOT = Path(__file__).parents[2]


def assert_exact(inputs: dict[str, torch.Tensor], backend: str, tolerance: float = TOLERANCE, **options) -> None:
    """Output, last state and all gradients agree with the recurrence in float64."""
    exact_inputs = double(inputs)
    y, last = selective_scan(**inputs, **options, return_last_state=True, backend=backend)
    exact, exact_last = selective_scan(**exact_inputs, **options, return_last_state=True, backend="reference")
    assert error(y, exact) < TOLERANCE
    assert error(last, exact_last) < TOLERANCE
    found, expected = gradients(y, inputs), gradients(exact, exact_inputs)
    errors = {name: error(found[name], expected[name]) for name in inputs}
    assert max(errors.values()) < tolerance, errors


def test_the_recurrence_by_hand():
    """Two steps of one state: h1 = 2 * 3 * 1, h2 = exp(-1 * 0.5) h1 + 0.5 * 4 * 1; y = C h + D u."""
    u, delta = torch.tensor([[[1.0, 1.0]]]), torch.tensor([[[2.0, 0.5]]])
    b, c = torch.tensor([[[3.0, 4.0]]]), torch.tensor([[[5.0, 6.0]]])
    y, last = selective_scan(
        u, delta, torch.tensor([[-1.0]]), b, c, torch.tensor([7.0]), return_last_state=True, backend="reference"
    )
    second = 6 * torch.exp(torch.tensor(-0.5)) + 2
    torch.testing.assert_close(y, torch.stack([torch.tensor(37.0), 6 * second + 7]).view(1, 1, 2))
    torch.testing.assert_close(last, second.view(1, 1, 1))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("softplus", [False, True])
def test_forward_and_gradients(backend, softplus):
    inputs = selective_inputs()
    if not softplus:
        with torch.no_grad():
            inputs["delta"].abs_()
            inputs["delta_bias"].abs_()
    assert_exact(inputs, backend, delta_softplus=softplus)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("without", ["D", "z", "delta_bias"])
def test_what_is_optional_may_be_left_out(backend, without):
    inputs = selective_inputs()
    del inputs[without]
    assert_exact(inputs, backend, delta_softplus=True)


@pytest.mark.parametrize("backend", BACKENDS)
def test_b_and_c_of_all_channels(backend):
    inputs = selective_inputs(groups=1)
    together = dict(inputs, B=inputs["B"][:, 0], C=inputs["C"][:, 0])
    expected = selective_scan(**inputs, delta_softplus=True, backend=backend)
    assert torch.equal(selective_scan(**together, delta_softplus=True, backend=backend), expected)


@pytest.mark.parametrize("backend", BACKENDS)
@given(
    images=st.integers(1, 3),
    groups=st.integers(1, 3),
    width=st.sampled_from([1, 2, 31, 33]),
    states=st.integers(1, 5),
    length=st.sampled_from([1, 2, 63, 64, 65, 130, 255, 256, 257, 300, 520]),
)
@settings(max_examples=15, deadline=None, derandomize=True)
def test_any_shape(backend, images, groups, width, states, length):
    inputs = selective_inputs(images, groups, groups * width, states, length)
    assert_exact(inputs, backend, 1e-4, delta_softplus=True)  # a gradient of few numbers may cancel


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("decay", [1e-4, 1.0, 64.0])
@pytest.mark.parametrize("step", [1e-6, 1e-3, 1.0, 1e3])
def test_any_step_size_and_decay(backend, step, decay):
    inputs = selective_inputs(length=300)
    with torch.no_grad():
        inputs["delta"].uniform_(0, step)
        inputs["delta_bias"].zero_()
        inputs["A"].uniform_(-decay, -decay / 2)
    assert_exact(inputs, backend)


@pytest.mark.parametrize("backend", BACKENDS)
def test_tiny_and_huge_steps_side_by_side(backend):
    inputs = selective_inputs(length=300)
    with torch.no_grad():
        exponents = torch.empty_like(inputs["delta"]).uniform_(-6, 3)
        inputs["delta"].copy_(10**exponents)
        inputs["delta_bias"].zero_()
    assert_exact(inputs, backend)


@pytest.mark.parametrize(
    ("channels", "states", "length"),
    [(300, 16, 130), (1200, 16, 70), (300, 16, 64)],  # chunks of 64 steps, with few lanes and with many
)
def test_many_channels(channels, states, length):
    assert_exact(selective_inputs(1, 2, channels, states, length), "torch", delta_softplus=True)


@pytest.mark.parametrize("chunk", [256, 4])
def test_gradcheck_in_float64(monkeypatch, chunk):
    monkeypatch.setattr(torch_backend, "chunk_of", lambda A: chunk)
    inputs = selective_inputs(1, 1, 3, 2, 11, torch.float64)
    names = list(inputs)
    assert torch.autograd.gradcheck(
        lambda *x: selective_scan(**dict(zip(names, x)), delta_softplus=True, backend="torch"), tuple(inputs.values())
    )


@pytest.mark.parametrize("backend", ["reference", *BACKENDS])
@pytest.mark.parametrize("empty", [{"images": 0}, {"length": 0}])
def test_nothing_gives_nothing(backend, empty):
    inputs = selective_inputs(**empty)
    y = selective_scan(**inputs, delta_softplus=True, backend=backend)
    assert y.shape == inputs["u"].shape
    assert all(bool((g == 0).all()) for g in gradients(y, inputs).values())


@pytest.mark.parametrize("backend", BACKENDS)
def test_threads_do_not_change_the_result(backend):
    inputs = selective_inputs(channels=80)

    def run() -> list[torch.Tensor]:
        y = selective_scan(**inputs, delta_softplus=True, backend=backend)
        return [y, *gradients(y, inputs).values()]

    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one = run()
        torch.set_num_threads(3)
        three = run()
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(a, b) for a, b in zip(one, three))


@pytest.mark.parametrize("backend", BACKENDS)
def test_half_precision_in_and_out_float32_inside(backend):
    inputs = {name: x.detach().bfloat16() for name, x in selective_inputs().items()}
    y = selective_scan(**inputs, delta_softplus=True, backend=backend)
    exact = selective_scan(**double(inputs), delta_softplus=True, backend="reference")
    assert y.dtype == torch.bfloat16
    assert error(y, exact) < 4e-3  # one rounding to bfloat16


@pytest.mark.parametrize("backend", BACKENDS)
def test_autocast_changes_nothing_inside(backend):
    inputs = selective_inputs()
    expected = selective_scan(**inputs, delta_softplus=True, backend=backend)
    exact = gradients(expected, inputs)
    with torch.autocast("cpu", torch.bfloat16):
        y = selective_scan(**inputs, delta_softplus=True, backend=backend)
        found = gradients(y, inputs)
    assert torch.equal(y, expected)
    assert all(torch.equal(found[name], exact[name]) for name in inputs)


def test_the_loops_refuse_shapes_that_would_leave_their_memory():
    u, states = torch.randn(2, 3, 50, 4), torch.randn(2, 3, 20, 5)
    skip = torch.randn(3, 4)
    inputs = SelectiveScanInputs(u, u, A=torch.randn(3, 4, 5), B=states, C=states, D=skip, bias=skip)
    with pytest.raises(ValueError, match=r"B is \(2, 3, 20, 5\) of torch.float32; expected \(2, 3, 50, 5\)"):
        grouped_selective_scan(inputs, True)


def test_compilers_may_rely_on_the_operators():
    def leaf(*shape: int) -> torch.Tensor:
        return torch.rand(shape).neg().requires_grad_()

    inputs = (leaf(2, 2, 300, 5), leaf(2, 2, 300, 5), leaf(2, 5, 3), leaf(2, 2, 300, 3), leaf(2, 2, 300, 3))
    for operator in (_torch, _numba):
        torch.library.opcheck(operator, (*inputs, leaf(2, 5), leaf(2, 5), True))


def test_the_fastest_backend_is_taken_and_said_once(caplog):
    backends._log_choice.cache_clear()
    with caplog.at_level(logging.INFO):
        for _ in range(2):
            selective_scan(**selective_inputs())
            selective_scan(**selective_inputs(dtype=torch.float64))
    assert [record.getMessage() for record in caplog.records] == [
        "selective scan of torch.float32 on cpu runs in the numba backend",
        "selective scan of torch.float64 on cpu runs in the torch backend",
    ]


def test_an_environment_variable_forces_a_backend(monkeypatch, caplog):
    backends._log_choice.cache_clear()
    monkeypatch.setenv("FLEMME_MONAI_SCAN", "torch")
    with caplog.at_level(logging.INFO):
        selective_scan(**selective_inputs())
    assert "runs in the torch backend" in caplog.text
    monkeypatch.setenv("FLEMME_MONAI_SCAN", "numba")
    ssd_scan(**ssd_inputs())  # has no such backend, and takes its own


def test_another_backend_is_refused(monkeypatch):
    with pytest.raises(ValueError, match="scan backend is 'fast'; expected one of reference, torch, numba, c, cuda"):
        selective_scan(**selective_inputs(), backend="fast")
    with pytest.raises(ValueError, match=r"numba backend cannot run selective scan of torch.float64 on cpu .* torch"):
        selective_scan(**selective_inputs(dtype=torch.float64), backend="numba")
    monkeypatch.setenv("FLEMME_MONAI_SCAN", "cuda")
    with pytest.raises(ValueError, match=r"cuda backend cannot run selective scan of torch.float32 on cpu"):
        selective_scan(**selective_inputs())


def test_a_broken_install_of_mamba_ssm_is_one_line(monkeypatch, tmp_path, caplog):
    """CUDA is there and the package is not, or is there without its kernels."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    backends.cuda_kernels.cache_clear()
    with caplog.at_level(logging.INFO):
        assert backends.cuda_kernels() is None
        assert backends.cuda_kernels() is None
    assert len(caplog.records) == 1
    assert "mamba_ssm cannot be imported (ModuleNotFoundError" in caplog.text
    caplog.clear()
    package = tmp_path / "mamba_ssm" / "ops"
    package.mkdir(parents=True)
    for folder in (package.parent, package):
        (folder / "__init__.py").touch()
    (package / "selective_scan_interface.py").write_text("selective_scan_cuda = None\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    backends.cuda_kernels.cache_clear()
    with caplog.at_level(logging.INFO):
        assert backends.cuda_kernels() is None
    backends.cuda_kernels.cache_clear()
    assert "installed without its CUDA kernels" in caplog.text


def test_mamba_ssms_kernel_gets_its_own_layout(monkeypatch):
    """The recurrence in the kernel's place, which takes what ``selective_scan_fn`` takes."""
    kernels = SimpleNamespace(selective_scan_fn=partial(selective_scan, backend="reference"))
    monkeypatch.setattr(SELECTIVE, "cuda_kernels", lambda: kernels)
    shapes = [(2, 3, 7, 4), (2, 3, 7, 4), (3, 4, 5), (2, 3, 7, 5), (2, 3, 7, 5), (3, 4), (3, 4)]
    inputs = SelectiveScanInputs(*(-torch.rand(shape) for shape in shapes))
    for found, expected in zip(SELECTIVE._cuda(inputs, True), reference.forward(inputs, True)):
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("u", (2, 6), "u is (2, 6)"),
        ("delta", (2, 6, 9), "delta is (2, 6, 9); expected (2, 6, 70)"),
        ("A", (5, 3), "A is (5, 3); expected (6, 3)"),
        ("B", (2, 2, 4, 70), "B is (2, 2, 4, 70); expected (2, 2, 3, 70)"),
        ("C", (2, 1, 3, 70), "C is (2, 1, 3, 70); expected (2, 2, 3, 70)"),
        ("D", (5,), "D is (5,); expected (6,)"),
        ("delta_bias", (1,), "delta_bias is (1,); expected (6,)"),
    ],
)
def test_shapes_that_do_not_fit_are_named(name, shape, message):
    inputs = dict(selective_inputs(), **{name: torch.zeros(shape)})
    with pytest.raises(ValueError, match=r"selective scan: ") as caught:
        selective_scan(**inputs)
    assert message in str(caught.value)


def test_groups_that_do_not_divide_the_channels_are_refused():
    inputs = selective_inputs(channels=6)
    for name in ("B", "C"):
        inputs[name] = torch.zeros(2, 4, 3, 70)
    with pytest.raises(ValueError, match="4 groups do not divide 6 channels"):
        selective_scan(**inputs)


def test_it_agrees_with_mambapys_parallel_scan():
    pscan = pytest.importorskip("mambapy.pscan").pscan
    inputs = {name: x.detach() for name, x in selective_inputs(groups=1, length=64).items()}
    delta = torch.nn.functional.softplus(inputs["delta"] + inputs["delta_bias"][:, None])  # (B, D, L)
    step, u = delta.permute(0, 2, 1).unsqueeze(-1), inputs["u"].permute(0, 2, 1).unsqueeze(-1)  # (B, L, D, 1)
    b, c = (inputs[name][:, 0].permute(0, 2, 1).unsqueeze(2) for name in "BC")  # (B, L, 1, N)
    h = pscan(torch.exp(step * inputs["A"]), step * u * b)
    expected = (h * c).sum(-1).permute(0, 2, 1) + inputs["D"][:, None] * inputs["u"]
    y = selective_scan(**dict(inputs, z=None), delta_softplus=True)
    torch.testing.assert_close(y, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_compiling_is_announced_once_and_cached(tmp_path):
    """By a process of its own with an empty cache, then by another."""
    command = [sys.executable, "-c", "from flemme_monai.ops import prepare_scans as f; f()"]
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path), "FLEMME_MONAI_SCAN": "numba"}
    first, second = (
        subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=True) for _ in range(2)
    )
    assert "compiling the selective scan for this processor, once" in first.stderr
    assert "compiling" not in second.stderr


def test_without_a_working_numba_scans_run_in_pytorch(monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "flemme_monai.ops.numba_kernels", None)
    monkeypatch.delattr("flemme_monai.ops.numba_kernels", raising=False)
    numba_backend.kernels.cache_clear()
    backends._log_choice.cache_clear()
    with caplog.at_level(logging.INFO):
        selective_scan(**selective_inputs())
    numba_backend.kernels.cache_clear()
    assert [record.getMessage().split(" (")[0] for record in caplog.records] == [
        "numba does not work",
        "selective scan of torch.float32 on cpu runs in the torch backend",
    ]

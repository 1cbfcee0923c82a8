"""The scans of an image as one operator: against the recurrence in float64, order by order."""

from __future__ import annotations

import io
import logging
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from monai.data import MetaTensor

from flemme_monai.blocks import SelectiveScan, StateSpaceDuality, scan_order
from flemme_monai.ops import compiled, image_scan, image_scan_chosen, selective_scan
from flemme_monai.ops.backends import ENVIRONMENT
from tests.ops.scans import error

MODULE = sys.modules["flemme_monai.ops.image_scan"]  # the function of its name hides it
TOLERANCE = 1e-5
pytestmark = pytest.mark.skipif(MODULE.kernels() is None, reason="there is no C compiler")


def inputs(
    images=2, tokens=70, orders=3, channels=20, states=3, rank=2, one_decay: bool = False
) -> dict[str, torch.Tensor]:
    """What :func:`image_scan` takes but the orders, by name, as a Mamba block would make it."""
    shapes = {
        "x": (images, tokens, channels),
        "rows": (images, tokens, orders, rank + 2 * states),
        "dt_proj": (orders, rank, channels),
        "A": (orders, channels, 1 if one_decay else states),
        "D": (orders, channels),
        "bias": (orders, channels),
    }
    tensors = {name: torch.randn(shape) for name, shape in shapes.items()}
    tensors["A"] = -tensors["A"].exp()
    return {name: tensor.requires_grad_() for name, tensor in tensors.items()}


def permutations(orders: int, tokens: int) -> torch.Tensor:
    return torch.stack([torch.randperm(tokens) for _ in range(orders)])


def one_by_one(x, rows, dt_proj, A, D, bias, order) -> torch.Tensor:
    """Each order by the recurrence, and its output added where its tokens are."""
    y, states = torch.zeros_like(x), (rows.shape[3] - dt_proj.shape[1]) // 2
    A = A.expand(-1, -1, states)
    for k, tokens in enumerate(order):
        dt, b, c = rows[:, tokens, k].split([dt_proj.shape[1], states, states], -1)
        delta = (dt @ dt_proj[k]).mT
        scanned = selective_scan(
            x[:, tokens].mT, delta, A[k], b.mT, c.mT, D[k], None, bias[k], True, backend="reference"
        )
        y = y.index_add(1, tokens, scanned.mT)
    return y


@pytest.mark.parametrize(
    "sizes",
    [
        {},
        {"states": 1, "channels": 33, "rank": 4},
        {"states": 8, "channels": 16, "images": 1},
        {"states": 16, "channels": 64, "tokens": 32},
        {"states": 5, "channels": 3, "tokens": 1},
        {"states": 1, "channels": 300, "images": 9, "tokens": 40, "orders": 1},
        {"states": 64, "channels": 48, "one_decay": True},
        {"states": 5, "channels": 300, "images": 1, "one_decay": True},
    ],
    ids=str,
)
def test_it_is_the_recurrence_of_each_order(sizes):
    tensors = inputs(**sizes)
    order = permutations(tensors["A"].shape[0], tensors["x"].shape[1])
    y = image_scan(*tensors.values(), order)
    double = {name: tensor.detach().double().requires_grad_() for name, tensor in tensors.items()}
    exact, weight = one_by_one(*double.values(), order), torch.randn(y.shape)
    assert error(y, exact) < TOLERANCE
    found = torch.autograd.grad((y * weight).sum(), list(tensors.values()))
    expected = torch.autograd.grad((exact * weight.double()).sum(), list(double.values()))
    errors = {name: error(a, b) for name, a, b in zip(tensors, found, expected)}
    assert max(errors.values()) < TOLERANCE, errors


@pytest.mark.parametrize("scale", [1e-3, 1.0, 30.0])
def test_large_and_small_step_sizes(scale):
    tensors = inputs(states=4)
    with torch.no_grad():
        tensors["bias"] *= scale
        tensors["dt_proj"] *= scale
    order = permutations(3, 70)
    exact = one_by_one(*(tensor.detach().double() for tensor in tensors.values()), order)
    assert error(image_scan(*tensors.values(), order), exact) < TOLERANCE


def test_what_is_no_number_stays_so():
    tensors = inputs()
    with torch.no_grad():
        tensors["rows"][0, 5] = torch.nan
    y = image_scan(*tensors.values(), permutations(3, 70))
    assert y[0].isnan().any()
    assert y[1].isfinite().all()


@pytest.mark.parametrize("images", [1, 3])
def test_results_do_not_depend_on_the_number_of_threads(images):
    tensors, order = inputs(images, channels=200), permutations(3, 70)
    before = torch.get_num_threads()
    results = []
    for threads in (1, 2, 7):
        torch.set_num_threads(threads)
        y = image_scan(*tensors.values(), order)
        results.append([y, *torch.autograd.grad(y.square().sum(), list(tensors.values()))])
    torch.set_num_threads(before)
    assert all(torch.equal(a, b) for other in results[1:] for a, b in zip(results[0], other))


def test_without_gradients_no_states_are_kept(monkeypatch):
    kept = []
    forward = MODULE._scan
    monkeypatch.setattr(MODULE, "_scan", lambda *arguments: kept.append(forward(*arguments)) or kept[-1])
    tensors, order = inputs(), permutations(3, 70)
    y = image_scan(*tensors.values(), order)
    with torch.no_grad():
        torch.testing.assert_close(image_scan(*tensors.values(), order), y)
    assert [states.numel() for _, states in kept] == [2 * 3 * 3 * 3 * 20, 0]  # of three chunks


def test_images_of_monai_are_scanned_as_others():
    tensors = {name: tensor.detach() for name, tensor in inputs().items()}
    order = permutations(3, 70)
    meta = {**tensors, "x": MetaTensor(tensors["x"])}
    assert torch.equal(image_scan(**meta, order=order).as_tensor(), image_scan(**tensors, order=order))


def block(kind: str = "mamba") -> tuple[torch.nn.Module, tuple[torch.Tensor, ...]]:
    orders, inverses = scan_order.scan_tables([6, 7], "cross", True, torch.device("cpu"))
    scan = SelectiveScan(20, 4, 3, 2) if kind == "mamba" else StateSpaceDuality(20, 4, 3, 5)
    return scan, (torch.randn(2, 42, 20), orders, inverses)


@pytest.mark.parametrize("kind", ["mamba", "mamba2"])
def test_a_block_is_the_same_with_its_orders_apart(kind, monkeypatch):
    scan, arguments = block(kind)
    y = scan(*arguments)
    monkeypatch.setenv(ENVIRONMENT, "torch")
    assert not image_scan_chosen(arguments[0])
    torch.testing.assert_close(scan(*arguments), y, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["mamba", "mamba2"])
def test_a_block_is_the_same_compiled_and_traced(kind):
    scan, arguments = block(kind)
    y = scan(*arguments)
    torch.testing.assert_close(torch.compile(scan, backend="aot_eager", fullgraph=True)(*arguments), y)
    file = io.BytesIO()
    torch.jit.save(torch.jit.trace(scan, arguments), file)
    file.seek(0)
    torch.testing.assert_close(torch.jit.load(file)(*arguments), y, rtol=1e-4, atol=1e-5)


def test_the_operator_keeps_the_rules_of_operators():
    tensors = [tensor.contiguous() for tensor in inputs(tokens=9, channels=5).values()]
    x, rows, dt_proj, A, D, bias = (tensor.detach().requires_grad_() for tensor in tensors)
    arguments = (
        x,
        rows,
        dt_proj,
        A.detach().mT.contiguous().requires_grad_(),
        D.detach().sum(0).requires_grad_(),
        bias,
    )
    torch.library.opcheck(MODULE._scan, (*arguments, permutations(3, 9).int(), True))


def test_double_precision_and_empty_images_have_their_orders_apart():
    assert image_scan_chosen(torch.zeros(1, 2, 3))
    assert image_scan_chosen(torch.zeros(1, 2, 3, dtype=torch.bfloat16))
    assert not image_scan_chosen(torch.zeros(1, 2, 3, dtype=torch.float64))
    assert not image_scan_chosen(torch.zeros(0, 2, 3))
    assert not image_scan_chosen(torch.zeros(1, 2, 3, device="meta"))


def test_tensors_that_do_not_fit_are_refused():
    tensors = inputs()
    with pytest.raises(ValueError, match=r"image scan: rows is \(2, 70, 3, 8\) of torch.float64; expected"):
        image_scan(**{**tensors, "rows": tensors["rows"].double()}, order=permutations(3, 70))
    with pytest.raises(ValueError, match=r"image scan: the orders are \(3, 69\)"):
        image_scan(**tensors, order=permutations(3, 69))


@pytest.fixture
def fresh(monkeypatch, tmp_path):
    """As on a machine that has compiled nothing yet."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    MODULE.kernels.cache_clear()
    yield tmp_path / "flemme_monai"
    MODULE.kernels.cache_clear()


def test_code_is_compiled_once_and_kept(fresh, monkeypatch):
    assert MODULE.kernels() is not None
    (kept,) = fresh.iterdir()
    assert kept.suffix == ".so"
    commands = []
    run = compiled._run
    monkeypatch.setattr(compiled, "_run", lambda command: commands.append(command) or run(command))
    MODULE.kernels.cache_clear()
    assert MODULE.kernels() is not None
    assert [command[-1] for command in commands] == ["/dev/null"]  # asks for the processor alone
    assert list(fresh.iterdir()) == [kept]


def test_other_options_make_another_library(fresh, monkeypatch):
    MODULE.kernels()
    monkeypatch.setenv("CFLAGS", "-DANOTHER")
    MODULE.kernels.cache_clear()
    MODULE.kernels()
    assert len(list(fresh.iterdir())) == 2


@pytest.mark.parametrize(
    ("compiler", "level", "said"),
    [("no-such-compiler", logging.INFO, "there is no C compiler"), ("false", logging.WARNING, "cannot be compiled")],
)
def test_without_a_compiler_the_orders_are_scanned_apart(fresh, monkeypatch, caplog, compiler, level, said):
    monkeypatch.setenv("CC", compiler)
    with caplog.at_level(logging.INFO):
        scan, arguments = block()
        scan(*arguments)
    (record,) = [record for record in caplog.records if record.name == "flemme_monai.ops.image_scan"]
    assert record.levelno == level
    assert said in record.getMessage()
    monkeypatch.setenv(ENVIRONMENT, "c")
    with pytest.raises(ValueError, match=r"is c and image_scan\.c cannot be compiled here"):
        scan(*arguments)


def test_the_code_has_no_warnings(tmp_path):
    source = Path(MODULE.__file__).with_name("image_scan.c")
    for target in ("-march=native", "-mavx2 -mfma", "-msse2"):
        command = ["cc", "-O2", *target.split(), *compiled.NEEDED, "-Wall", "-Wextra", "-Werror", "-Wno-psabi"]
        done = subprocess.run(
            [*command, str(source), "-o", str(tmp_path / "code.so")], capture_output=True, text=True, check=False
        )
        if "unrecognized" not in done.stderr:  # another processor's options
            assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("flags", ["-mno-avx512f", "-mno-avx"])
def test_narrower_vectors_give_the_same_numbers(fresh, monkeypatch, flags):
    monkeypatch.setenv("CFLAGS", flags)
    tensors, order = inputs(states=4), permutations(3, 70)
    exact = one_by_one(*(tensor.detach().double() for tensor in tensors.values()), order)
    if MODULE.kernels() is None:
        pytest.skip("the compiler does not know these options")
    y = image_scan(*tensors.values(), order)
    assert error(y, exact) < TOLERANCE
    assert all(gradient.isfinite().all() for gradient in torch.autograd.grad(y.sum(), list(tensors.values())))

"""Scans keep their numbers in every form that a network can leave Python in, at another length than was shown."""

from __future__ import annotations

import io

import pytest
import torch
from torch import nn

from flemme_monai.ops import (
    SelectiveScanInputs,
    SSDInputs,
    grouped_selective_scan,
    grouped_ssd_scan,
    selective_scan,
    ssd_scan,
)
from tests.ops.scans import gradients, selective_inputs, ssd_inputs


class Selective(nn.Module):
    """The scan as a module of its tensors alone."""

    def forward(self, u, delta, A, B, C, D, z, bias):
        return selective_scan(u, delta, A, B, C, D, z, bias, True)


class Ssd(nn.Module):
    """The scan as a module of its tensors alone."""

    def forward(self, x, dt, A, B, C, D, z, bias, first):
        return ssd_scan(x, dt, A, B, C, D=D, z=z, dt_bias=bias, initial_states=first, dt_softplus=True)


SCANS = [(Selective, selective_inputs), (Ssd, ssd_inputs)]


def detached(make, length: int) -> tuple[torch.Tensor, ...]:
    return tuple(x.detach() for x in make(length=length).values())


def dynamic_length(inputs: tuple[torch.Tensor, ...], length: int) -> tuple:
    steps = torch.export.Dim("length", min=2, max=100_000)
    return tuple({x.shape.index(length): steps} if length in x.shape else None for x in inputs)


@pytest.mark.parametrize(("scan", "make"), SCANS)
def test_tracing(scan, make):
    traced = torch.jit.trace(scan(), detached(make, 70))
    file = io.BytesIO()
    torch.jit.save(traced, file)
    file.seek(0)
    other = detached(make, 33)
    torch.testing.assert_close(torch.jit.load(file)(*other), scan()(*other), rtol=1e-4, atol=1e-5)


class SelectiveRows(nn.Module):
    """The scan of features, which a script can take."""

    def forward(self, x: torch.Tensor, dt: torch.Tensor, A: torch.Tensor, B: torch.Tensor, D: torch.Tensor):
        return grouped_selective_scan(SelectiveScanInputs(u=x, delta=dt, A=A, B=B, C=B, D=D, bias=D), softplus=True)


class SsdRows(nn.Module):
    """The scan of features, which a script can take."""

    def forward(self, x: torch.Tensor, dt: torch.Tensor, A: torch.Tensor, B: torch.Tensor, D: torch.Tensor):
        first = torch.ones(2, 2, 3, 4, 5)
        return grouped_ssd_scan(SSDInputs(x=x, dt=dt, A=A, B=B, C=B, D=D, bias=D, initial_state=first), softplus=True)


@pytest.mark.parametrize("module", [SelectiveRows(), SsdRows()])
def test_scripting(module):
    def inputs(length: int) -> list[torch.Tensor]:
        if isinstance(module, SelectiveRows):
            shapes = [(2, 2, length, 4), (2, 2, length, 4), (2, 4, 3), (2, 2, length, 3), (2, 4)]
        else:
            shapes = [(2, 2, length, 4, 5), (2, 2, length, 4), (2, 4), (2, 2, length, 3), (2, 4)]
        return [-torch.rand(shape) for shape in shapes]

    file = io.BytesIO()
    torch.jit.save(torch.jit.script(module), file)
    file.seek(0)
    scripted = torch.jit.load(file)
    for length in (70, 33):
        tensors = inputs(length)
        torch.testing.assert_close(scripted(*tensors), module(*tensors), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("scan", "make"), SCANS)
def test_export(scan, make, tmp_path):
    inputs = detached(make, 70)
    program = torch.export.export(scan(), inputs, dynamic_shapes=dynamic_length(inputs, 70))
    torch.export.save(program, tmp_path / "scan.pt2")
    other = detached(make, 33)
    loaded = torch.export.load(tmp_path / "scan.pt2").module()
    torch.testing.assert_close(loaded(*other), scan()(*other), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("scan", "make"), SCANS)
def test_onnx(scan, make, tmp_path):
    runtime = pytest.importorskip("onnxruntime")
    inputs = detached(make, 70)
    program = torch.onnx.export(
        scan().eval(), inputs, dynamo=True, dynamic_shapes=dynamic_length(inputs, 70), verbose=False
    )
    program.save(str(tmp_path / "scan.onnx"))
    assert sum(node.op_type == "Scan" for node in program.model.graph) == 1
    session = runtime.InferenceSession(str(tmp_path / "scan.onnx"))
    other = detached(make, 33)
    feed = {node.name: x.numpy() for node, x in zip(session.get_inputs(), other)}
    found = torch.from_numpy(session.run(None, feed)[0])
    torch.testing.assert_close(found, scan()(*other), rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["torch", "numba"])
def test_compiling(backend, monkeypatch):
    """In one graph, with the gradients."""
    monkeypatch.setenv("FLEMME_MONAI_SCAN", backend)
    inputs = selective_inputs()
    compiled = torch.compile(Selective(), fullgraph=True)
    y, expected = compiled(*inputs.values()), Selective()(*inputs.values())
    torch.testing.assert_close(y, expected, rtol=1e-4, atol=1e-5)
    found, exact = gradients(y, inputs), gradients(expected, inputs)
    for name in inputs:
        torch.testing.assert_close(found[name], exact[name], rtol=1e-3, atol=1e-4)


@pytest.mark.slow
def test_compiling_the_scan_of_mamba_2():
    inputs = ssd_inputs()
    compiled = torch.compile(Ssd(), fullgraph=True)
    y, expected = compiled(*inputs.values()), Ssd()(*inputs.values())
    torch.testing.assert_close(y, expected, rtol=1e-4, atol=1e-5)
    found, exact = gradients(y, inputs), gradients(expected, inputs)
    for name in inputs:
        torch.testing.assert_close(found[name], exact[name], rtol=1e-3, atol=1e-4)

"""The linear layer: the same numbers whatever it runs as, and who decides."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from flemme_monai.blocks import Linear, layers


@pytest.mark.parametrize(
    ("capability", "threads", "as_convolution"),
    [("AVX512", 2, True), ("AVX512", 1, False), ("AVX2", 8, False), ("DEFAULT", 8, False)],
)
def test_processor_and_threads_decide_when_it_is_made(monkeypatch, capability, threads, as_convolution):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    assert Linear(4, 8).as_convolution == (as_convolution and torch.backends.mkldnn.is_available())


@pytest.mark.parametrize("as_convolution", [False, True])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("form", ["eager", "scripted", "compiled"])
def test_it_is_a_linear_layer_with_its_weights(monkeypatch, form, bias, as_convolution):
    monkeypatch.setattr(layers, "convolutions_are_faster", lambda: as_convolution)
    layer, plain = Linear(6, 10, bias), nn.Linear(6, 10, bias)
    plain.load_state_dict(layer.state_dict())
    forms = {"scripted": torch.jit.script, "compiled": lambda net: torch.compile(net, backend="aot_eager")}
    x = torch.randn(2, 3, 5, 6)
    torch.testing.assert_close(forms.get(form, lambda net: net)(layer)(x), plain(x))


@pytest.mark.parametrize("as_convolution", [False, True])
def test_exported_programs_hold_a_plain_linear_layer(monkeypatch, as_convolution):
    monkeypatch.setattr(layers, "convolutions_are_faster", lambda: as_convolution)
    program = torch.export.export(Linear(6, 10), (torch.randn(2, 6),))
    calls = [str(node.target) for node in program.graph.nodes if node.op == "call_function"]
    assert calls == ["aten.linear.default"]

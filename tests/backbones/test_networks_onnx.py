"""Graphs of the networks from elsewhere give their numbers at another size and batch than they were shown."""

from __future__ import annotations

import pytest
from torch import nn

from flemme_monai.commands.onnx_checks import largest_difference
from flemme_monai.registry import NETWORKS
from flemme_monai.utils.onnx import export_onnx
from tests.foreign import network

pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

FAST = ("segnet", "pspnet")  # indices that pools keep; means over grids


@pytest.mark.parametrize("key", [k if k in FAST else pytest.param(k, marks=pytest.mark.slow) for k in NETWORKS])
def test_a_graph_has_the_network_s_numbers_at_another_size_and_batch(key, tmp_path):
    net = network("sem", key, 2).eval()
    for parameter in net.parameters():
        if not parameter.any():
            nn.init.normal_(parameter, std=0.1)
    export_onnx(net, tmp_path / "net.onnx")
    assert largest_difference(net, tmp_path / "net.onnx") < 1e-4

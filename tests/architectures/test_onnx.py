"""Exported graphs give the network's numbers at another size and batch than they were shown."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from flemme_monai import architectures
from flemme_monai.backbones import ConditioningConfig, MambaFamily
from flemme_monai.utils.onnx import example_inputs, export_onnx
from tests.networks import CONDITIONING, backbone, network

runtime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

TIME = CONDITIONING["EDM"]
KINDS = {
    "skips": lambda: network("SeM", "UNet", 2, num_blocks=1),
    "pooled to a grid": lambda: architectures.ClM(backbone("CNN", 2, num_blocks=1), grid_size=3),
    "latent vector": lambda: architectures.AE(backbone("CNN", 2, 1, 1, latent_size=5, num_blocks=1)),
    "dense": lambda: network("SeM", "DNet", 2, num_blocks=1),
    "volumes": lambda: network("SeM", "CNN", 3, num_blocks=1),
    "variational": lambda: architectures.VAE(backbone("CNN", 2, 1, 1, num_blocks=1)),
    "hierarchical": lambda: architectures.HAE(backbone("UNet", 2, 1, 1, num_blocks=1), residual=True),
    "sigma": lambda: architectures.EDM(backbone("UNet", 2, 2, 2, conditioning=TIME, num_blocks=1)),
    "image as context": lambda: network("SDM", "UNet", 2, num_blocks=1),
    "attention": lambda: network("SeM", "ViT", 2, num_blocks=1),
    "windows": lambda: network("SeM", "SwinU", 2, num_blocks=2),
    "scans": lambda: network("SeM", "VMamba", 2, num_blocks=1),
    "scans by heads": lambda: network(
        "SeM", "VMamba", 2, num_blocks=1, family=MambaFamily(block="mamba2", state_size=2, expansion=1.0, head_width=4)
    ),
    "aligned": lambda: architectures.SeM(
        backbone("CNN", 2, num_blocks=1), alignment=architectures.SpatialTransformer(2, 1)
    ),
    "aligned volumes": lambda: architectures.HSeM(
        backbone("CNN", 3, num_blocks=1), alignment=architectures.SpatialTransformer(3, 1, "rigid")
    ),
}
QUICK = ("skips", "pooled to a grid", "latent vector", "variational")


SLOW = pytest.mark.slow


@pytest.mark.parametrize("kind", [kind if kind in QUICK else pytest.param(kind, marks=SLOW) for kind in KINDS])
def test_a_graph_has_the_network_s_numbers_at_another_size_and_batch(kind, tmp_path):
    net: nn.Module = KINDS[kind]()
    for parameter in net.parameters():
        if not parameter.any():
            nn.init.normal_(parameter, std=0.1)
    export_onnx(net.train(), tmp_path / "net.onnx")
    assert net.training
    net.eval()
    session = runtime.InferenceSession(str(tmp_path / "net.onnx"))
    shown = example_inputs(net)[0]
    assert [node.name for node in session.get_inputs()] == ["image", *list(shown)[1:]]
    for batch, size in ((3, shown["x"].shape[2:]), (2, (16, 72, 24)[: shown["x"].ndim - 2])):
        inputs = [
            torch.linspace(1, 9, batch) if x.ndim == 1 else torch.randn(batch, x.shape[1], *size)
            for x in shown.values()
        ]
        (found,) = session.run(None, {node.name: x.numpy() for node, x in zip(session.get_inputs(), inputs)})
        torch.testing.assert_close(torch.from_numpy(found), net(*inputs), rtol=1e-3, atol=1e-4)


def test_a_graph_refuses_a_size_that_its_network_refuses(tmp_path):
    net = architectures.ClM(backbone("CNN", 2, num_blocks=1))
    export_onnx(net, tmp_path / "net.onnx")
    session = runtime.InferenceSession(str(tmp_path / "net.onnx"))
    for size in ((17, 24), (16, 28), (4, 24)):
        with pytest.raises(ValueError, match="not divisible"):
            net(torch.randn(1, 1, *size))
        with pytest.raises(Exception, match="sizes must be multiples of 8 x 8"):
            session.run(None, {"image": torch.randn(1, 1, *size).numpy()})


def test_layer_norms_of_values_far_from_zero_keep_their_digits(tmp_path):
    net = architectures.ClM(backbone("CNN", 2, num_blocks=1))
    net.backbone.encoder.register_forward_hook(lambda _, __, out: (out[0] * 0.01 + 1, out[1]))
    export_onnx(net, tmp_path / "net.onnx")
    session = runtime.InferenceSession(str(tmp_path / "net.onnx"))
    x = torch.randn(2, 1, 16, 24)
    (found,) = session.run(None, {"image": x.numpy()})
    exact = net.eval().double()(x.double())
    torch.testing.assert_close(torch.from_numpy(found).double(), exact, rtol=0, atol=5e-5)


def test_a_graph_refuses_a_size_that_its_latent_vector_cannot_have(tmp_path):
    net = architectures.VAE(backbone("CNN", 2, 1, 1, num_blocks=1), latent_size=4, image_size=(16, 24))
    export_onnx(net, tmp_path / "net.onnx")
    session = runtime.InferenceSession(str(tmp_path / "net.onnx"))
    x = torch.randn(5, 1, 16, 24)
    (found,) = session.run(None, {"image": x.numpy()})
    torch.testing.assert_close(torch.from_numpy(found), net.eval()(x), rtol=1e-3, atol=1e-4)
    with pytest.raises(Exception, match="Got invalid dimensions"):
        session.run(None, {"image": torch.randn(5, 1, 32, 24).numpy()})


@pytest.mark.parametrize(
    ("kind", "context"),
    [
        ("class", torch.tensor([2, -1])),
        ("vector", torch.tensor([[63.5, 0, -1], [torch.nan, 1, 2]])),
    ],
)
def test_a_context_without_time_steps_is_an_input_of_its_own_name(kind, context, tmp_path):
    conditioning = ConditioningConfig(context=kind, context_size=3, channels=8)
    net = architectures.ClM(backbone("CNN", 2, num_blocks=1, conditioning=conditioning))
    for parameter in net.parameters():
        if not parameter.any():
            nn.init.normal_(parameter, std=0.1)
    if kind == "vector":
        net.backbone.standardize_context([50.0, 0.5, 1.0], [10.0, 0.5, 2.0])
    export_onnx(net, tmp_path / "net.onnx")
    session = runtime.InferenceSession(str(tmp_path / "net.onnx"))
    x = torch.randn(2, 1, 16, 24)
    (found,) = session.run(None, {"image": x.numpy(), "context": context.numpy()})
    torch.testing.assert_close(torch.from_numpy(found), net.eval()(x, None, context), rtol=1e-3, atol=1e-4)

"""Networks in the style of U-Mamba, SegMamba, Vim, VM-UNet and VMamba, on what stands in for mamba_ssm."""

from __future__ import annotations

import importlib
from collections.abc import Iterator

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from flemme_monai.compat import mamba_ssm
from tests.compat import literal, public_networks


@pytest.fixture(autouse=True)
def _installed() -> Iterator[None]:
    mamba_ssm.install()
    yield
    mamba_ssm.uninstall()


def of(weights: literal.Weights, prefix: str) -> dict[str, torch.Tensor]:
    """The weights of a part."""
    return {name.removeprefix(prefix): v for name, v in weights.items() if name.startswith(prefix)}


def test_u_mambas_block() -> None:
    for size in ((5, 6), (3, 4, 2)):
        block = public_networks.UMambaLayer(8)

        def expected(x: torch.Tensor, weights: literal.Weights) -> torch.Tensor:
            rows = F.layer_norm(x.flatten(2).mT, (8,), weights["norm.weight"], weights["norm.bias"])
            return literal.mamba(rows, of(weights, "mamba.")).mT.reshape(x.shape)

        literal.compare(block, dict(block.named_parameters()), expected, torch.randn(2, 8, *size))


def test_segmambas_block_in_three_directions() -> None:
    block = public_networks.SegMambaLayer(8, slices=4)

    def expected(x: torch.Tensor, weights: literal.Weights) -> torch.Tensor:
        rows = F.layer_norm(x.flatten(2).mT, (8,), weights["norm.weight"], weights["norm.bias"])
        return literal.mamba(rows, of(weights, "mamba."), "v3", 4).mT.reshape(x.shape) + x

    literal.compare(block, dict(block.named_parameters()), expected, torch.randn(2, 8, 3, 2, 4))


def test_vims_stack() -> None:
    network = public_networks.VimBlocks(8, depth=2)

    def normed(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        return x * (x.square().mean(-1, keepdim=True) + 1e-5).rsqrt() * weight

    def expected(x: torch.Tensor, weights: literal.Weights) -> torch.Tensor:
        for i in range(2):
            own = of(weights, f"layers.{i}.")
            x = x + literal.mamba(normed(x, own["norm.weight"]), of(own, "mixer."), "v2") / 2
        return normed(x, weights["norm_f.weight"])

    literal.compare(network, dict(network.named_parameters()), expected, torch.randn(2, 15, 8))


def scan(name: str):
    """The way that a project calls the scan."""
    if name == "selective_scan_fn":
        return public_networks.scan_function
    extra = (True,) if name == "selective_scan_cuda_oflex" else ()
    return public_networks.kernel_function(importlib.import_module(name), *extra)


@pytest.mark.parametrize(
    "name",
    ["selective_scan_fn", "selective_scan_cuda_core", "selective_scan_cuda_oflex", "selective_scan_cuda_nrow"],
)
def test_the_scan_of_vm_unet_and_vmamba(name: str) -> None:
    block = public_networks.SS2D(6, 4, scan(name))

    def literal_scan(u, delta, A, B, C, D, bias) -> torch.Tensor:
        delta = F.softplus(delta + bias[:, None])
        parts = [slice(6 * k, 6 * k + 6) for k in range(4)]
        ys = [literal.recurrence(u[:, p], delta[:, p], A[p], B[:, k], C[:, k], D[p]) for k, p in enumerate(parts)]
        return torch.cat(ys, 1)

    double = public_networks.SS2D(6, 4, literal_scan).double()

    def expected(x: torch.Tensor, weights: literal.Weights) -> torch.Tensor:
        return torch.func.functional_call(double, dict(weights), (x,))

    # A_logs.float() of the project rounds the literal's decays too
    literal.compare(block, dict(block.named_parameters()), expected, torch.randn(2, 6, 5, 7))


def test_a_small_network_learns() -> None:
    network = nn.Sequential(nn.Conv3d(1, 8, 3, padding=1), public_networks.SegMambaLayer(8, 2), nn.Conv3d(8, 2, 1))
    optimizer = torch.optim.AdamW(network.parameters(), 1e-2)
    image = torch.randn(1, 1, 4, 4, 4)
    mask = (image[:, 0] > 0).long()
    losses = []
    for _ in range(30):
        loss = F.cross_entropy(network(image), mask)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.3 * losses[0]

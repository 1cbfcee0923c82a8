"""Public packages' Mamba blocks beside those that stand in for mamba_ssm's: same weights, same numbers.

``transformers`` and ``mambapy`` are asked for in processes of their own, since what they find when they are imported
stays with them.
"""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from collections.abc import Iterator
from importlib import resources
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from flemme_monai.compat import mamba_ssm
from flemme_monai.compat.mamba_ssm import scans
from flemme_monai.compat.mamba_ssm.mamba import Mamba
from flemme_monai.compat.mamba_ssm.mamba2 import Mamba2
from tests.compat.literal import relative

ROOT = Path(__file__).resolve().parents[2]


def assert_same(theirs: nn.Module, ours: nn.Module, x: torch.Tensor, names: dict[str, str] | None = None) -> None:
    """Output and gradients of two blocks, of which the second gets the first's weights."""
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    names = names or {}
    weights = {names.get(name, name): v for name, v in theirs.state_dict().items()}
    ours.load_state_dict(weights)
    direction, results = torch.randn_like(x), []
    for block in (theirs, ours):
        given = x.clone().requires_grad_()
        y = block(given)
        parameters = {names.get(name, name): v for name, v in block.named_parameters()}
        gradients = torch.autograd.grad(y, [given, *(parameters[name] for name in sorted(parameters))], direction)
        results.append((y, *gradients))
    errors = [relative(a, b.double()) for a, b in zip(results[1], results[0])]
    assert max(errors) < 1e-4, errors


@pytest.mark.parametrize("parallel", [True, False])
def test_mambapys_block(parallel: bool) -> None:
    package = pytest.importorskip("mambapy.mamba")
    config = package.MambaConfig(d_model=16, n_layers=1, d_state=8, pscan=parallel)
    assert_same(package.MambaBlock(config), Mamba(16, d_state=8), torch.randn(2, 33, 16))


@pytest.mark.parametrize("mean", [True, False])
def test_mambapys_vim_block(mean: bool) -> None:
    package = pytest.importorskip("mambapy.vim")
    config = package.MambaConfig(d_model=16, n_layers=1, d_state=8, bidirectional=True, divide_output=mean)
    ours = Mamba(16, d_state=8, bimamba_type="v2", if_divide_out=mean)
    assert_same(package.VMambaBlock(config), ours, torch.randn(2, 33, 16), {"A_log_b": "A_b_log"})


def test_transformers_mamba() -> None:
    package = pytest.importorskip("transformers.models.mamba.modeling_mamba")
    config = package.MambaConfig(hidden_size=16, state_size=8, expand=2, num_hidden_layers=1, time_step_rank=2)
    theirs = package.MambaMixer(config, layer_idx=0)
    assert_same(theirs, Mamba(16, d_state=8, dt_rank=2), torch.randn(2, 33, 16))


@pytest.mark.parametrize("groups", [1, 2])
def test_transformers_mamba2(groups: int) -> None:
    package = pytest.importorskip("transformers.models.mamba2.modeling_mamba2")
    config = package.Mamba2Config(
        hidden_size=16, state_size=8, expand=2, num_heads=4, head_dim=8, n_groups=groups, num_hidden_layers=1
    )
    ours = Mamba2(16, d_state=8, headdim=8, ngroups=groups)
    assert_same(package.Mamba2Mixer(config, layer_idx=0), ours, torch.randn(2, 33, 16))


def imported(name: str):
    """A module of a public project, which may be missing or lack what it needs."""
    try:
        return importlib.import_module(name)
    except Exception as error:  # timm, for one, fails in many ways beside another torchvision
        pytest.skip(f"{name} cannot be imported: {error}")


@pytest.fixture
def _installed() -> Iterator[None]:
    before = set(sys.modules)
    mamba_ssm.install()
    yield
    mamba_ssm.uninstall()
    for name in set(sys.modules) - before:
        if name.partition(".")[0] in ("mambavision", "opensr_mamba"):
            del sys.modules[name]


@pytest.mark.slow
@pytest.mark.usefixtures("_installed")
def test_mambavision_runs_and_learns(monkeypatch: pytest.MonkeyPatch) -> None:
    code = imported("mambavision.models.mamba_vision")
    network, image = code.mamba_vision_T(pretrained=False), torch.randn(1, 3, 224, 224)
    network(image).sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())
    network.eval()
    with torch.no_grad():
        found = network(image)
        monkeypatch.setattr(code, "selective_scan_fn", scans.selective_scan_ref)
        assert relative(found, network(image).double()) < 1e-4


@pytest.mark.slow
@pytest.mark.usefixtures("_installed")
@torch.no_grad()
def test_published_weights_of_a_super_resolution_network_do_what_they_learnt() -> None:
    """``opensr_mamba`` ships a trained network of VMamba's blocks: an image comes out four times larger."""
    code = imported("opensr_mamba.mamba.main")
    settings = {"img_size": 32, "embed_dim": 60, "depths": [2, 2, 2, 2], "d_state": 16, "mlp_ratio": 1.5, "upscale": 4}
    settings |= {"attention_type": "sigmoid_02", "upsampler": "pixelshuffledirect"}
    network = code.MambaSR(**settings).eval()
    weights = resources.files("opensr_mamba.mamba.weights") / "srmodel.pth"
    network.load_state_dict(torch.load(str(weights), map_location="cpu", weights_only=True))
    small = F.interpolate(torch.rand(1, 3, 8, 8), (32, 32), mode="bicubic")
    found = network(small, save_attention_maps=True)[0]
    enlarged = F.interpolate(small, (128, 128), mode="bicubic")
    assert torch.corrcoef(torch.stack([found.flatten(), enlarged.flatten()]))[0, 1] > 0.98
    for part in network.modules():
        if hasattr(part, "selective_scan"):
            part.selective_scan = scans.selective_scan_ref
    assert relative(found, network(small, save_attention_maps=True)[0].double()) < 1e-4


# a whole network of transformers, whose functions are its own without mamba_ssm, and ours where we stand in
PROGRAM = """
import sys
if sys.argv[1] == "ours":
    from flemme_monai.compat import mamba_ssm
    mamba_ssm.install()
import torch
import transformers
from transformers.models.{module} import modeling_{module} as code
torch.manual_seed(0)
network = transformers.{name}Model(transformers.{name}Config(**{settings}))
code_of = {{c.cell_contents.__module__ for c in code.{function}.__closure__ if hasattr(c.cell_contents, "__module__")}}
assert ("flemme_monai" in " ".join(map(str, code_of))) == (sys.argv[1] == "ours"), code_of
tokens = torch.randint(0, 50, (2, 40))
network.train()
y = network(tokens).last_hidden_state
y.backward(torch.randn_like(y))
out = {{name: p.grad for name, p in network.named_parameters() if p.grad is not None}}
out["training"] = y.detach()
network.eval()
with torch.no_grad():
    out["whole"] = network(tokens).last_hidden_state
    first = network(tokens[:, :30], use_cache=True)
    states = first[1] if len(first) > 1 else first.cache_params
    for t in range(30, 40):
        step = network(tokens[:, t : t + 1], cache_params=states, use_cache=True)
        out[f"step {{t}}"] = step.last_hidden_state
torch.save(out, sys.argv[2])
"""
SMALL = {"vocab_size": 50, "hidden_size": 16, "state_size": 8, "num_hidden_layers": 2, "expand": 2}
NETWORKS = {
    "Mamba": ("mamba", "mamba_selective_scan", {**SMALL, "time_step_rank": 2}),
    "Mamba2": ("mamba2", "mamba2_chunk_scan", {**SMALL, "num_heads": 4, "head_dim": 8, "n_groups": 2}),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_transformers_networks_take_what_stands_in(name: str, tmp_path: Path) -> None:
    if find_spec("transformers") is None:
        pytest.skip("transformers is not installed")
    module, function, settings = NETWORKS[name]
    code = PROGRAM.format(module=module, function=function, settings=settings, name=name)
    results = []
    for whose in ("theirs", "ours"):
        path = tmp_path / f"{whose}.pt"
        variables = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
        subprocess.run([sys.executable, "-c", code, whose, str(path)], check=True, env=variables)
        results.append(torch.load(path))
    theirs, ours = results
    assert theirs.keys() == ours.keys()
    errors = {part: relative(ours[part], v.double()) for part, v in theirs.items()}
    assert max(errors.values()) < 1e-4, errors

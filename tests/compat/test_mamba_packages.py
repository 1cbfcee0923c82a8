"""Public packages' Mamba blocks beside those that stand in for mamba_ssm's: same weights, same numbers.

``transformers`` and ``mambapy`` are asked for in processes of their own, since what they find when they are imported
stays with them.
"""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from torch import nn

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

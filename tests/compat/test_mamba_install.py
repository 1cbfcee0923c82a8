"""When mamba_ssm is stood in for, when it is not, and what can be imported then."""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch

from flemme_monai.compat import mamba_ssm
from flemme_monai.compat.mamba_ssm import __main__ as runner
from flemme_monai.compat.mamba_ssm import finder
from flemme_monai.compat.mamba_ssm.mamba import Mamba
from flemme_monai.ops import backends

ROOT = Path(__file__).resolve().parents[2]
WORKING = "def selective_scan_fn(*arguments): return arguments[0]"
BROKEN = "import selective_scan_cuda_of_another_torch"


@pytest.fixture(autouse=True)
def _clean() -> Iterator[None]:
    yield
    mamba_ssm.uninstall()


def real_package(folder: Path, interface: str) -> None:
    """A ``mamba_ssm`` as pip would install it."""
    package = folder / "mamba_ssm" / "ops"
    package.mkdir(parents=True)
    (folder / "mamba_ssm" / "__init__.py").write_text("name = 'real'\n", encoding="utf-8")
    (package / "__init__.py").touch()
    (package / "selective_scan_interface.py").write_text(interface, encoding="utf-8")


@pytest.fixture
def with_package(monkeypatch, tmp_path):
    """Puts a ``mamba_ssm`` on the path."""

    def put(interface: str) -> None:
        real_package(tmp_path, interface)
        monkeypatch.syspath_prepend(tmp_path)

    yield put
    mamba_ssm.uninstall()
    for name in [name for name in sys.modules if name.partition(".")[0] == "mamba_ssm"]:
        del sys.modules[name]


IMPORTS = """
from mamba_ssm import Mamba, Mamba2
from mamba_ssm.modules.mamba_simple import Mamba, Block
from mamba_ssm.modules.mamba2 import Mamba2
from mamba_ssm.modules.block import Block
from mamba_ssm.ops.selective_scan_interface import selective_scan_fn, selective_scan_ref, mamba_inner_fn
from mamba_ssm.ops.selective_scan_interface import mamba_inner_ref, bimamba_inner_fn, mamba_inner_fn_no_out_proj
from mamba_ssm.ops.triton.layernorm import RMSNorm, layer_norm_fn, rms_norm_fn
from mamba_ssm.ops.triton.layer_norm import RMSNorm, layer_norm_fn, rms_norm_fn
from mamba_ssm.ops.triton.layernorm_gated import RMSNorm as RMSNormGated, LayerNorm
from mamba_ssm.ops.triton.selective_state_update import selective_state_update
from mamba_ssm.ops.triton.ssd_combined import mamba_chunk_scan_combined, mamba_split_conv1d_scan_combined
from mamba_ssm.utils.generation import InferenceParams, GenerationMixin
from mamba_ssm.utils.hf import load_config_hf, load_state_dict_hf
from causal_conv1d import causal_conv1d_fn, causal_conv1d_update
from causal_conv1d.causal_conv1d_interface import causal_conv1d_fn
import causal_conv1d_cuda
import selective_scan_cuda
import selective_scan_cuda_core
import selective_scan_cuda_oflex
import selective_scan_cuda_nrow
"""


def test_what_networks_import_is_there() -> None:
    assert mamba_ssm.install() == finder.PACKAGES
    assert mamba_ssm.install() == finder.PACKAGES
    found: dict[str, object] = {}
    exec(IMPORTS, found)
    assert found["Mamba"] is Mamba
    assert found["Block"].__name__ == "Block"
    package = importlib.import_module("mamba_ssm")
    assert package.ops.selective_scan_interface.selective_scan_fn is package.selective_scan_fn
    assert all(hasattr(found[name], "fwd") for name in finder.PACKAGES if name.startswith("selective_scan"))


def test_nothing_stays_after_it_is_undone() -> None:
    before = list(sys.meta_path)
    mamba_ssm.install()
    importlib.import_module("mamba_ssm.ops.triton.ssd_combined")
    mamba_ssm.uninstall()
    mamba_ssm.uninstall()
    assert sys.meta_path == before
    assert not {name.partition(".")[0] for name in sys.modules} & {*finder.PACKAGES}
    with pytest.raises(ModuleNotFoundError, match="No module named 'mamba_ssm'"):
        importlib.import_module("mamba_ssm")


def test_what_is_not_covered_is_not_found() -> None:
    mamba_ssm.install()
    with pytest.raises(ModuleNotFoundError, match=r"mamba_ssm\.modules\.mamba3"):
        importlib.import_module("mamba_ssm.modules.mamba3")
    for name in ("load_config_hf", "load_state_dict_hf"):
        with pytest.raises(NotImplementedError, match="language models are not covered"):
            getattr(importlib.import_module("mamba_ssm.utils.hf"), name)("state-spaces/mamba-130m")
    with pytest.raises(NotImplementedError, match="language models are not covered"):
        importlib.import_module("mamba_ssm.utils.generation").GenerationMixin().generate()


def test_a_package_that_works_stays(with_package) -> None:
    with_package(WORKING)
    before = list(sys.meta_path)
    assert mamba_ssm.install() == ()
    assert sys.meta_path == before
    assert importlib.import_module("mamba_ssm").name == "real"


def test_a_package_that_does_not_work_comes_back(with_package, caplog) -> None:
    with_package(BROKEN)
    real = importlib.import_module("mamba_ssm")
    with caplog.at_level("INFO"):
        assert "mamba_ssm" in mamba_ssm.install()
    assert "mamba_ssm is installed and does not work here (ModuleNotFoundError" in caplog.text
    assert importlib.import_module("mamba_ssm").Mamba is Mamba
    mamba_ssm.uninstall()
    assert importlib.import_module("mamba_ssm") is real


def test_an_empty_module_in_its_place_does_not_work(monkeypatch) -> None:
    """As programs make it that only want the import to succeed."""
    empty = ModuleType("mamba_ssm")
    monkeypatch.setitem(sys.modules, "mamba_ssm", empty)
    assert mamba_ssm.install() == finder.PACKAGES
    assert importlib.import_module("mamba_ssm").Mamba is Mamba
    mamba_ssm.uninstall()
    assert sys.modules["mamba_ssm"] is empty


def test_a_kernel_that_works_stays(monkeypatch, tmp_path) -> None:
    """VMamba's own kernel on a GPU, without mamba_ssm."""
    (tmp_path / "selective_scan_cuda_oflex.py").write_text("name = 'real'\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(finder, "_call_convolution", lambda device: None)
    assert set(mamba_ssm.install()) == {*finder.PACKAGES} - {"selective_scan_cuda_oflex"}
    assert importlib.import_module("selective_scan_cuda_oflex").name == "real"
    del sys.modules["selective_scan_cuda_oflex"]


def test_a_kernel_without_a_gpu_does_not_work(monkeypatch, tmp_path) -> None:
    (tmp_path / "selective_scan_cuda_oflex.py").write_text("name = 'real'\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert mamba_ssm.install() == finder.PACKAGES
    assert hasattr(importlib.import_module("selective_scan_cuda_oflex"), "fwd")


def test_our_own_scans_do_not_take_the_stand_in_for_kernels(monkeypatch) -> None:
    mamba_ssm.install()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    backends.cuda_kernels.cache_clear()
    assert backends.cuda_kernels() is None
    backends.cuda_kernels.cache_clear()


def run(*arguments: str, folder: Path | None = None) -> str:
    command = [sys.executable, *arguments]
    variables = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=folder, env=variables, check=True, capture_output=True, text=True)
    return done.stdout


def test_it_is_never_active_by_itself() -> None:
    code = "import sys, flemme_monai.compat.mamba_ssm, flemme_monai.ops, importlib.util\n"
    code += "print(importlib.util.find_spec('mamba_ssm'), any(n.startswith('causal_conv1d') for n in sys.modules))"
    assert run("-c", code).split() == ["None", "False"]


PROGRAM = """
import sys
import helper  # beside the program
from mamba_ssm import Mamba
if __name__ == "__main__":
    print(Mamba.__name__, helper.name, *sys.argv[1:])
"""


def test_a_program_runs_as_it_is(tmp_path) -> None:
    (tmp_path / "program.py").write_text(PROGRAM, encoding="utf-8")
    (tmp_path / "helper.py").write_text("name = 'helper'\n", encoding="utf-8")
    starter = ["-m", "flemme_monai.compat.mamba_ssm"]
    expected = ["Mamba", "helper", "--device", "cpu", "-m"]
    assert run(*starter, str(tmp_path / "program.py"), "--device", "cpu", "-m").split() == expected
    assert run(*starter, "-m", "program", "--device", "cpu", "-m", folder=tmp_path).split() == expected


def test_the_page_says_what_is_there() -> None:
    page = (ROOT / "docs" / "mamba_anywhere.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (`(?:mamba_ssm|causal_conv1d|selective_scan)[^|]*)\|(.*)\|$", page, re.MULTILINE)
    table = {name: cells for names, cells in rows for name in re.findall(r"`([\w.]+)`", names)}
    silent = {"mamba_ssm.utils.hf"}  # only refuses
    assert set(table) == {name for name, holds in finder.MODULES.items() if holds} - silent
    for name in {*table} - {"mamba_ssm.modules.mamba_simple"}:
        provided = {finder.OTHER_NAMES.get(n, n) for names in finder.MODULES[name].values() for n in names.split()}
        assert provided - {"GenerationMixin"} == {n for n in re.findall(r"`(\w+)`", table[name]) if n != "mamba_ssm"}, (
            name
        )


def test_the_pages_code_runs() -> None:
    page = (ROOT / "docs" / "mamba_anywhere.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    found: dict[str, object] = {}
    exec(code, found)
    assert found["y"].shape == (1, 512, 48)


def test_a_program_that_is_not_there_is_said(capsys):
    with pytest.raises(SystemExit, match="2"):
        runner.main(["no_such_program.py"])
    assert "there is no file no_such_program.py; expected a Python program" in capsys.readouterr().err

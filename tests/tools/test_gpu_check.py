"""The report of a GPU, tried on the CPU."""

from __future__ import annotations

from pathlib import Path

import gpu_check
import pytest
import torch


def test_the_scans_are_compared_with_the_recurrence() -> None:
    text = gpu_check.scans("cpu", 40)
    assert "| torch | " in text
    assert "its kernels were not compared" in text
    wrong = gpu_check.difference(
        lambda backend, **tensors: gpu_check.selective_scan(**tensors, delta_softplus=True, backend=backend)
        * (1 + (backend == "torch")),
        gpu_check.scan_inputs(20),
        "cpu",
        "torch",
    )
    assert wrong > 0.5


@pytest.mark.slow
def test_all_parts_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert gpu_check.main(["--device", "cpu", "--quick", "--output", str(tmp_path / "gpu.md")]) == 0
    text = (tmp_path / "gpu.md").read_text(encoding="utf-8")
    assert text.startswith("# no GPU, torch")
    assert [line for line in text.splitlines() if line.startswith("## ")] == [
        "## Scans",
        "## VMambaU in half precision",
        "## Throughput, 2D",
    ]
    assert all(f"| {name} |" in text for name in gpu_check.NETWORKS)


def test_a_part_that_fails_is_named() -> None:
    def part() -> str:
        raise ValueError("no such card\nand more")

    assert gpu_check.reported(part) == ("failed: ValueError: no such card", False)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_how_to_try_it(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        gpu_check.main([])
    assert "--device cpu --quick tries the script" in capsys.readouterr().err

"""Damaged images of every kind are read, or refused by name; ``tools/fuzz_images.py`` is the long form."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import fuzz_images
import pytest
from image_mutations import write_mutant, write_samples

from flemme_monai.data.reading import read_image

ROOT = Path(__file__).resolve().parents[2]
COUNT = 50  # damaged copies of each image
IN_PROCESS = ("png", "jpg", "tif", "bmp", "nii", "nii.gz", "hdr")  # their readers cannot crash


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return write_samples(tmp_path_factory.mktemp("whole"))


def test_the_samples_are_whole(samples: list[Path]) -> None:
    for sample in samples:
        assert read_image(sample).isfinite().all()


@pytest.mark.parametrize("kind", IN_PROCESS)
def test_a_damaged_image_is_read_or_refused_by_name(tmp_path: Path, samples: list[Path], kind: str) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for sample in [path for path in samples if path.name.endswith(f".{kind}")]:
        for seed in range(COUNT):
            folder = tmp_path / f"{sample.name}_{seed}"
            folder.mkdir()
            path, damage = write_mutant(sample, folder, seed)
            start = time.process_time()
            assert fuzz_images.outcome_of(path) in ("read", "refused"), damage
            assert time.process_time() - start < 5, damage
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2e6  # kB


def test_one_seed_is_one_damage(tmp_path: Path, samples: list[Path]) -> None:
    copies = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        path, _ = write_mutant(samples[0], tmp_path / name, 3)
        copies.append(path.read_bytes())
    assert copies[0] == copies[1] != samples[0].read_bytes()


@pytest.mark.slow
def test_the_tool_counts_what_became_of_images_that_itk_reads(tmp_path: Path) -> None:
    command = [sys.executable, "tools/fuzz_images.py", "--count", "42", "--kinds", ".nrrd,.mha,.mhd,series"]
    run = subprocess.run([*command, "--keep", str(tmp_path)], cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "42 images, 0 failures" in run.stdout


def test_the_tool_tells_a_fault_and_a_crash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def reads(path: Path) -> None:
        if path.stem == "crash":
            os.kill(os.getpid(), signal.SIGKILL)
        if path.stem == "key":
            raise KeyError("a")
        raise ValueError("a.png is damaged")

    monkeypatch.setattr(fuzz_images, "_as_image", reads)
    outcomes = fuzz_images.attempts([tmp_path / f"{name}.png" for name in ("a", "crash", "key", "b", "crash")])
    assert outcomes[:3] == ["refused", "killed: SIGKILL", "fault: KeyError \"'a'\""]
    assert outcomes[3].startswith("fault: ValueError 'a.png is damaged' does not name its file")
    assert outcomes[4:] == ["killed: SIGKILL"]

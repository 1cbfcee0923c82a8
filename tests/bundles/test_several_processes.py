"""Two processes on two nodes, which meet over the loopback, learn what one process learns."""

from __future__ import annotations

import csv
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from image_files import random_picture, write_picture

from flemme_monai.recipes import make_bundle, write

ROOT = Path(__file__).resolve().parents[2]
SMALL = {
    "network_def#backbone#channels": [4, 4],
    "network_def#backbone#patch_channels": 4,
    "network_def#backbone#middle_channels": [4],
    "network_def#backbone#num_blocks": 1,
    "num_classes": 2,
    "image_size": [16, 16],
    "epochs": 3,
    "loss_terms": ["ce"],  # a mean over pixels; Dice is of each process's own batch
    "augmentation#flip": 0.0,
    "augmentation#rotate": 0.0,
    "augmentation#scale": 0.0,
    "augmentation#elastic": 0.0,
    "augmentation#intensity": 0.0,
    "augmentation#noise": 0.0,
}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """20 pictures of the network's size: 12 to train on, 4 to validate."""
    for k in range(20):
        picture = random_picture(k, (16, 16))
        write_picture(tmp_path / "data" / "images" / f"{k:02d}.png", picture)
        write_picture(tmp_path / "data" / "masks" / f"{k:02d}.png", (picture > 90 + 4 * k).astype(np.uint8))
    return tmp_path / "data"


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def run(bundle: Path, configs: list[str], launcher: list[str], **settings: object) -> subprocess.Popen:
    files = [str(bundle / "configs" / f"{name}.json") for name in configs]
    words = [word for name, value in settings.items() for word in (f"--{name}", str(value))]
    command = [sys.executable, *launcher, "-m", "monai.bundle", "run", "--config_file", str(files), *words]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def finished(*processes: subprocess.Popen) -> list[str]:
    texts = [process.communicate(timeout=570)[0] for process in processes]
    for process, text in zip(processes, texts):
        assert process.returncode == 0, text[-3000:]
    return texts


def rows(folder: Path) -> list[dict[str, float]]:
    with (folder / "metrics.csv").open(encoding="utf-8") as file:
        return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]


@pytest.mark.slow
@pytest.mark.parametrize("cache", ["memory", "disk"])
def test_two_nodes_learn_what_one_process_learns(data: Path, tmp_path: Path, cache: str) -> None:
    bundle = tmp_path / "bundle"
    write(bundle, make_bundle("sem_unet", settings=SMALL))
    shared = {"bundle_root": bundle, "dataset_dir": data, "device": "cpu", "cache": cache}

    def folders(name: str) -> dict[str, Path]:
        places = {"ckpt_dir": tmp_path / name / "m", "output_dir": tmp_path / name / "o"}
        return {**places, "cache_dir": tmp_path / name / "cache"}

    finished(run(bundle, ["train"], [], batch_size=12, **shared, **folders("one")))
    nodes = ["-m", "torch.distributed.run", "--nnodes=2", "--nproc_per_node=1", "--master_addr=127.0.0.1"]
    nodes.append(f"--master_port={free_port()}")
    two = [
        run(
            bundle, ["train", "multi_gpu_train"], [*nodes, f"--node_rank={rank}"], batch_size=6, **shared,
            **{**folders("two"), "cache_dir": tmp_path / f"node{rank}"},
        )
        for rank in range(2)
    ]  # fmt: skip
    finished(*two)
    for one, both in zip(rows(tmp_path / "one" / "o"), rows(tmp_path / "two" / "o"), strict=True):
        assert one.keys() == both.keys()
        for name in one.keys() - {"seconds", "waiting"}:
            assert one[name] == pytest.approx(both[name], abs=1e-4), name
    states = [torch.load(tmp_path / name / "m" / "model.pt", weights_only=True) for name in ("one", "two")]
    for name, value in states[0].items():
        torch.testing.assert_close(value, states[1][name], atol=1e-3, rtol=1e-3, msg=name)
    if cache == "disk":
        counts = [len(list((tmp_path / f"node{rank}").glob("*.pt"))) for rank in range(2)]
        assert counts == [8, 8], "each has its own part of 12 training and 4 validation cases"

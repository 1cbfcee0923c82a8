"""Runs in a queue and on a cluster end as those on one machine."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from importlib.util import find_spec
from pathlib import Path

import pytest

from flemme_monai.commands import compare
from flemme_monai.commands.places import PACKAGE_PARENT
from flemme_monai.commands.train_runs import run_logged
from flemme_monai.comparison.entries import Entry
from flemme_monai.comparison.launchers import launch_ray, write_slurm
from flemme_monai.comparison.plan import Run
from flemme_monai.comparison.results import collect
from flemme_monai.comparison.runs import run

TINY = {
    "image_size": [32, 32],
    "batch_size": 16,
    "num_workers": 0,
    "epochs": 2,
    "network_def#backbone#channels": [4, 8],
    "network_def#backbone#middle_channels": [8],
}
METRIC_COLUMNS = ("bundle", "seed", "dice", "iou", "surface_distance")


def runs_of(folder: Path, seeds: int) -> list[Run]:
    budgets = [(s, {"settings": {**TINY, "seed": s}, "factor": 1.0, "parameters": 1}) for s in range(seeds)]
    pairs = ("sem_unet", "hsem_unet")
    return [
        Run(Entry(p, p, p.split("_")[0]), "", None, s, b, folder / p / f"seed_{s}") for s, b in budgets for p in pairs
    ]


def test_a_script_for_slurm_has_a_task_for_each_run_that_is_left(tmp_path: Path) -> None:
    todo = runs_of(tmp_path, 2)
    script = write_slurm(todo, tmp_path, 3, ["--time=1:00:00"])
    lines = script.read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if line.startswith("#SBATCH")][1:] == [
        "#SBATCH --array=0-3%3",
        f"#SBATCH --output={tmp_path}/slurm/%a.log",
        f"#SBATCH --chdir={Path.cwd()}",
        "#SBATCH --time=1:00:00",
    ]
    assert script.stat().st_mode & stat.S_IRUSR
    assert subprocess.run(["bash", "-n", script], check=False).returncode == 0
    assert (tmp_path / "slurm").is_dir()  # where sbatch would put what tasks print


def test_a_task_of_the_script_runs_its_run(tmp_path: Path) -> None:
    todo = runs_of(tmp_path, 1)
    script = write_slurm(todo, tmp_path, 1, [])
    todo[1].folder.mkdir(parents=True)
    (todo[1].folder / "result.json").write_text(
        json.dumps({"budget": todo[1].budget, "row": {"dice": 0.75}}), encoding="utf-8"
    )
    environment = {**os.environ, "SLURM_ARRAY_TASK_ID": "1"}
    done = subprocess.run(["bash", script], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "hsem_unet seed 0: {'dice': 0.75}\n"


def test_the_command_writes_the_script_and_runs_nothing(tmp_path: Path, capsys) -> None:
    words = ["sem_unet", "hsem_unet", "--output", str(tmp_path), "--match", "none", "--seeds", "0", "1"]
    assert compare.main([*words, "--launcher", "slurm", "--jobs", "8", "--slurm_option", "gres=gpu:1"]) == 0
    assert "slurm.sh, 4 runs" in capsys.readouterr().out
    text = (tmp_path / "slurm.sh").read_text(encoding="utf-8")
    assert "#SBATCH --array=0-3%8\n" in text
    assert "#SBATCH --gres=gpu:1\n" in text
    assert len(json.loads((tmp_path / "slurm_runs.json").read_text(encoding="utf-8"))) == 4
    assert not list(tmp_path.rglob("result.json"))


@pytest.mark.skipif(find_spec("ray") is not None, reason="ray is installed")
def test_without_ray_the_extra_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'flemme-monai\[cluster\]'"):
        launch_ray(runs_of(tmp_path, 1), None, 1, 0)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a process with its parent")
def test_a_training_ends_with_the_process_that_began_it(tmp_path: Path) -> None:
    words = [sys.executable, "-c", "import os, time; print(os.getpid(), flush=True); time.sleep(60)"]
    code = f"import sys; from pathlib import Path; from {run_logged.__module__} import run_logged; "
    code += f"run_logged({words!r}, Path({str(tmp_path / 'log')!r}))"
    parent = subprocess.Popen([sys.executable, "-c", code], cwd=PACKAGE_PARENT)
    while not ((tmp_path / "log").is_file() and (tmp_path / "log").read_text(encoding="utf-8").endswith("\n")):
        time.sleep(0.05)
        assert parent.poll() is None
    child = Path("/proc") / (tmp_path / "log").read_text(encoding="utf-8").strip()
    assert child.exists()
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    for _ in range(100):
        if not child.exists() or "State:\tZ" in (child / "status").read_text(encoding="utf-8"):
            return
        time.sleep(0.05)
    pytest.fail("it lives on")


def table(runs: list[Run], found: dict[Run, dict]) -> list[tuple]:
    results = collect({todo: found[todo] for todo in runs}, [], {})
    return [tuple(row[name] for name in METRIC_COLUMNS) for row in results.runs]


@pytest.mark.slow
@pytest.mark.skipif(find_spec("ray") is None, reason="ray is not installed")
def test_a_cluster_that_loses_a_worker_ends_with_the_same_table(tmp_path: Path, monkeypatch) -> None:
    import ray
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    here, there = runs_of(tmp_path / "here", 3), runs_of(tmp_path / "there", 3)
    expected = {todo: run(todo, 1) for todo in here}
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    workers = [cluster.add_node(num_cpus=1) for _ in range(2)]
    killed = threading.Event()

    def kill_one() -> None:
        # in the middle: some runs have ended, and the others have not
        while sum((todo.folder / "result.json").exists() for todo in there) < 2:
            time.sleep(0.2)
        cluster.remove_node(workers[0], allow_graceful=False)
        killed.set()

    try:
        ray.init(address=cluster.address, log_to_driver=False)
        thread = threading.Thread(target=kill_one, daemon=True)
        thread.start()
        found, failed = launch_ray(there, None, 1, 0)
    finally:
        ray.shutdown()
        cluster.shutdown()
    assert killed.is_set()
    assert failed == []
    assert table(there, found) == table(here, expected)

"""A run that cannot be saved, or whose last.pt is damaged or another's, ends in one line and loses nothing."""

from __future__ import annotations

import os
import pickle
import shutil
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from ignite.engine import Events
from permissions import permissions_bind

from flemme_monai.handlers import TrainingCheckpoint
from flemme_monai.utils import writable_dir
from flemme_monai.utils.errors import one_line_error
from flemme_monai.utils.weights import read_checkpoint


def files(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def refused(make_run, folder: Path, **options: Any) -> str:
    """The line that a run ends with, after a look whether it has left all files as they were."""
    before = files(folder)
    with pytest.raises(Exception) as error:  # noqa: PT011
        make_run(resume=True, **options).trainer.run()
    assert {path: content for path, content in files(folder).items() if path in before} == before
    line = one_line_error(error.value)
    assert line is not None, error.value
    assert len(line) < 600
    return line


@pytest.fixture
def last(make_run, tmp_path: Path) -> Path:
    make_run(epochs=1).trainer.run()
    return tmp_path / "ckpt" / "last.pt"


@pytest.mark.parametrize("length", [0, 1, 100, 0.5, 0.99, -1])
def test_a_checkpoint_that_is_cut_short_is_damaged(make_run, tmp_path, last, length):
    whole = last.read_bytes()
    last.write_bytes(whole[: int(length * len(whole)) if isinstance(length, float) else length])
    assert f"{last} is no checkpoint that loads with weights_only=True" in refused(make_run, tmp_path)


def flip(path: Path, name: str) -> None:
    """Turn one bit in the middle of a checkpoint's part."""
    with zipfile.ZipFile(path) as archive:
        part = next(info for info in archive.infolist() if info.filename.endswith(name))
    content = bytearray(path.read_bytes())
    header = part.header_offset
    lengths = int.from_bytes(content[header + 26 : header + 28], "little") + int.from_bytes(
        content[header + 28 : header + 30], "little"
    )
    content[header + 30 + lengths + part.file_size // 2] ^= 4
    path.write_bytes(content)


@pytest.mark.parametrize("part", ["/data/0", "/data/2", "/byteorder"])
@pytest.mark.parametrize("name", ["last.pt", "model.pt"])
def test_one_wrong_bit_is_found(make_run, last, name, part):
    path = last.with_name(name)
    read_checkpoint(path)
    flip(path, part)
    with pytest.raises(ValueError, match=rf"{path} is (damaged: the checksum of \S+{part} in it|no checkpoint)"):
        read_checkpoint(path)


class Code:
    """Makes a folder when it is unpickled."""

    def __init__(self, made: Path) -> None:
        self.made = made

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.made),)


@pytest.mark.parametrize("save", [torch.save, lambda state, path: path.write_bytes(pickle.dumps(state))])
def test_code_in_a_checkpoint_does_not_run(make_run, tmp_path, last, save):
    save({"network": Code(tmp_path / "made")}, last)
    assert "more than tensors and plain values" in refused(make_run, tmp_path)
    assert not (tmp_path / "made").exists()


def test_a_text_and_a_folder_are_no_checkpoint(make_run, tmp_path, last):
    last.write_text("hello", encoding="utf-8")
    assert "is no checkpoint" in refused(make_run, tmp_path)
    last.unlink()
    last.mkdir()
    assert f"resume found no {last}" in refused(make_run, tmp_path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda state: [1, 2], "it holds a list; expected early_stop, history, lr_scheduler, network, optimizer, tra"),
        (lambda state: state["network"], "it holds 0.weight, 0.bias, 1.weight, 1.bias, 1.running_mean, 1.running_var"),
        (lambda state: {7: torch.zeros(1)}, "it holds 7; expected early_stop"),
        (lambda state: {**state, "ema": {}}, "cannot be resumed: it holds "),
        (lambda state: {**state, "network": None}, "its network is a NoneType; expected a state dict"),
        (lambda state: {**state, "history": 3}, "its history is a int; expected a state dict"),
        (lambda state: {**state, "early_stop": {}}, "the early_stop in "),
        (lambda state: {**state, "lr_scheduler": {}}, "the lr_scheduler in "),
        (lambda state: {**state, "optimizer": {}}, "holds no optimizer's state"),
        (lambda state: {**state, "trainer": {"epoch": 1}}, "its trainer holds epoch; expected epoch, best_metric"),
        (lambda state: {**state, "record": None}, "last.pt holds other keys"),
        (lambda state: {**state, "network": {}}, "does not fit the network: 0.weight is missing"),
    ],
)
def test_what_is_no_state_of_this_run_is_named(make_run, tmp_path, last, change: Callable, words: str):
    torch.save(change(torch.load(last, weights_only=True)), last)
    assert words in refused(make_run, tmp_path)


def test_moments_of_other_parameters_are_named(make_run, tmp_path, last):
    state = torch.load(last, weights_only=True)
    moments = state["optimizer"]["state"]
    moments[0], moments[1] = moments[1], moments[0]  # as parameters in another order leave them
    torch.save(state, last)
    line = refused(make_run, tmp_path)
    assert "exp_avg of the optimizer's parameter 0 is (6,); expected (6, 1, 3, 3)" in line


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    os.chmod(folder, 0o555)
    try:
        with permissions_bind():
            yield
    finally:
        os.chmod(folder, 0o755)


def test_a_checkpoint_that_may_not_be_read_is_named(make_run, tmp_path, last):
    before = last.read_bytes()
    last.chmod(0)
    with permissions_bind(), pytest.raises(OSError, match=rf"^{last} cannot be read \(Permission denied\)"):
        make_run(resume=True).trainer.run()
    last.chmod(0o644)
    assert last.read_bytes() == before


@pytest.mark.parametrize("name", ["ckpt", "out"])
def test_a_folder_that_is_read_only_stops_before_the_first_step(make_run, tmp_path, last, name):
    with read_only(tmp_path / name):
        assert f"{name} is not a writable folder (Permission denied): make it" in refused(make_run, tmp_path, epochs=2)


def at_epoch(run, epoch: int, change: Callable[[], Any]) -> None:
    run.trainer.add_event_handler(Events.EPOCH_STARTED(once=epoch), lambda engine: change())


def numbers(run) -> list[dict[str, float]]:
    return [{k: v for k, v in row.items() if k not in ("seconds", "waiting")} for row in run.history.rows]


def assert_goes_on_as_if_nothing_had_been(make_run, folder: Path) -> None:
    """The run in ``folder``, which has ended, goes on and ends as one that never ended."""
    whole, resumed = make_run(folder / "whole"), make_run(folder, resume=True)
    for run in (whole, resumed):
        run.trainer.run()
    assert numbers(whole) == numbers(resumed)
    for one, other in zip(whole.network.parameters(), resumed.network.parameters(), strict=True):
        assert torch.equal(one, other)
    assert list(folder.glob("*/.*")) == []


@pytest.mark.parametrize(("name", "file"), [("ckpt", r"(model|last)\.pt"), ("out", r"metrics\.csv")])
def test_a_folder_that_becomes_read_only_loses_the_running_epoch_alone(make_run, tmp_path, name, file):
    run = make_run()
    at_epoch(run, 3, lambda: os.chmod(tmp_path / name, 0o555))
    with permissions_bind(), pytest.raises(OSError, match=rf"{file} cannot be written \(Permission denied\): make the"):
        run.trainer.run()
    os.chmod(tmp_path / name, 0o755)
    assert torch.load(tmp_path / "ckpt" / "last.pt", weights_only=True)["trainer"]["epoch"] == 2
    (tmp_path / name / ".run.lock").unlink(missing_ok=True)  # of a run that could not remove it
    assert_goes_on_as_if_nothing_had_been(make_run, tmp_path)


def test_a_full_disk_loses_the_running_epoch_alone(make_run, tmp_path):
    resource = pytest.importorskip("resource")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    run = make_run()
    at_epoch(run, 3, lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1])))
    try:
        with pytest.raises(OSError, match=r"\.pt cannot be written \(.*\): make room, or name another folder") as error:
            run.trainer.run()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "\n" not in str(error.value)
    assert torch.load(tmp_path / "ckpt" / "last.pt", weights_only=True)["trainer"]["epoch"] == 2
    assert_goes_on_as_if_nothing_had_been(make_run, tmp_path)


@pytest.mark.parametrize(("name", "file"), [("ckpt", "(model|last).pt"), ("out", "metrics.csv")])
def test_a_folder_that_goes_away_is_named(make_run, tmp_path, name, file):
    run = make_run()
    at_epoch(run, 2, lambda: shutil.rmtree(tmp_path / name))
    with pytest.raises(OSError, match=rf"{name}/{file} cannot be written \({tmp_path / name} is no longer there\)"):
        run.trainer.run()


def test_halves_of_a_killed_run_are_gone_at_the_next_start(make_run, tmp_path, last):
    child = os.fork() if hasattr(os, "fork") else pytest.skip("a platform without fork")
    if child == 0:
        from flemme_monai.utils import atomic_write

        with atomic_write(last) as part:
            part.write_bytes(b"half")
            os._exit(0)
    os.waitpid(child, 0)
    assert len(list(last.parent.glob(".part_*"))) == 1
    make_run(resume=True).trainer.run()
    assert list(last.parent.glob(".*")) == []
    assert writable_dir(last.parent) == last.parent


@pytest.mark.parametrize("shipped", [False, True], ids=["a new folder", "a bundle with weights"])
def test_a_run_that_dies_between_its_first_files_goes_on_with_its_own_weights(make_run, tmp_path, monkeypatch, shipped):
    folder = tmp_path / "ckpt"
    if shipped:
        folder.mkdir()
        torch.save({}, folder / "model.pt")
    with monkeypatch.context() as dying:

        def die(self: TrainingCheckpoint) -> None:
            raise KeyboardInterrupt

        dying.setattr(TrainingCheckpoint, "_write_best", die)
        with pytest.raises(KeyboardInterrupt):
            make_run(epochs=1).trainer.run()
    assert (folder / "last.pt").is_file(), "no weights are there before it, which would be taken for another's"
    assert (folder / "model.pt").is_file() == shipped
    make_run(epochs=1, resume=True).trainer.run()
    kept, last = (torch.load(folder / name, weights_only=True) for name in ("model.pt", "last.pt"))
    assert all(torch.equal(kept[name], tensor) for name, tensor in last["network"].items())
    assert (folder / "pretrained").exists() == shipped

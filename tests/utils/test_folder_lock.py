"""A folder has one training at a time, and a killed one leaves it free."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from permissions import permissions_bind

from flemme_monai.utils import folder_lock, hold_folder, refuse_used_folders, release_folders

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="a platform without fork")


def fork(work: Callable[[], None]) -> int:
    """A process of its own that works and then waits."""
    ready, done = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            work()
            os.write(done, b"x")
            time.sleep(100)
        finally:
            os._exit(1)
    os.close(done)
    assert os.read(ready, 1) == b"x"
    os.close(ready)
    return pid


def end(pid: int, by: int = signal.SIGKILL) -> None:
    os.kill(pid, by)
    os.waitpid(pid, 0)


@pytest.fixture
def other(tmp_path: Path) -> Iterator[int]:
    """Another process that holds the test's folder."""
    pid = fork(lambda: hold_folder(tmp_path, "run"))
    yield pid
    with suppress(ProcessLookupError, ChildProcessError):
        end(pid)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder_lock, "PATIENCE_S", 0.1)


@pytest.mark.usefixtures("impatient")
def test_a_folder_that_another_process_holds_is_refused_by_its_name(other: int, tmp_path: Path) -> None:
    for refuse in (refuse_used_folders, lambda folder: hold_folder(folder, "me")):
        words = rf"{tmp_path} is in use by another run \(process {other} on .* since 2.*name another --ckpt_dir"
        with pytest.raises(ValueError, match=words) as error:
            refuse(tmp_path)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("by", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_process_leaves_the_folder_free(other: int, tmp_path: Path, by: signal.Signals) -> None:
    end(other, by)
    assert (tmp_path / folder_lock.LOCK_FILE).exists()
    refuse_used_folders(tmp_path)
    hold_folder(tmp_path, "me")
    assert f'"process": {os.getpid()}' in (tmp_path / folder_lock.LOCK_FILE).read_text(encoding="utf-8")
    release_folders("me")


def test_a_release_leaves_nothing_and_frees_the_folder(tmp_path: Path) -> None:
    hold_folder(tmp_path, "one")
    hold_folder(tmp_path / ".." / tmp_path.name, "two")  # a process may train again in its own folder
    release_folders("one")
    assert (tmp_path / folder_lock.LOCK_FILE).exists()
    release_folders("two")
    assert list(tmp_path.iterdir()) == []


def test_a_look_leaves_no_file_and_makes_no_folder(tmp_path: Path) -> None:
    refuse_used_folders(tmp_path, tmp_path / "new")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_read_only_is_refused_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match=r"file/new is not a writable folder \(.*file is a file\): make it writable"):
        refuse_used_folders(tmp_path / "file" / "new")
    tmp_path.chmod(0o555)
    try:
        with permissions_bind():
            for folder in (tmp_path, tmp_path / "new" / "er"):
                with pytest.raises(
                    ValueError, match=rf"^{folder} is not a writable folder \({tmp_path} is read-only\)"
                ):
                    refuse_used_folders(folder)
    finally:
        tmp_path.chmod(0o755)
    refuse_used_folders(tmp_path / "new" / "er")


def test_other_ranks_do_not_look(other: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    refuse_used_folders(tmp_path)


def test_a_file_system_without_locks_is_said_and_no_obstacle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def unsupported(file: int) -> bool:
        raise OSError(95, "Operation not supported")

    caplog.set_level("INFO")
    monkeypatch.setattr(folder_lock, "_lock", unsupported)
    hold_folder(tmp_path, "me")
    refuse_used_folders(tmp_path)
    assert caplog.messages == [
        f"{tmp_path} cannot be locked (Operation not supported): take care that no other run writes it"
    ]


def test_a_forked_worker_does_not_keep_the_lock_of_a_killed_run(tmp_path: Path) -> None:
    def run() -> None:
        hold_folder(tmp_path, "run")
        (tmp_path / "worker").write_text(str(fork(lambda: None)), encoding="utf-8")

    end(fork(run))
    try:
        refuse_used_folders(tmp_path)
    finally:
        os.kill(int((tmp_path / "worker").read_text(encoding="utf-8")), signal.SIGKILL)

"""Files are written whole or not at all."""

from __future__ import annotations

import ast
import os
import re
import time
from pathlib import Path

import pytest
import torch
from permissions import permissions_bind

from flemme_monai.utils import atomic_write, text_file, writable_dir


def test_a_file_is_replaced_in_one_step(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old", encoding="utf-8")
    with atomic_write(path) as part:
        part.write_text("new", encoding="utf-8")
        assert path.read_text(encoding="utf-8") == "old"
    assert path.read_text(encoding="utf-8") == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_failure_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old", encoding="utf-8")

    def die():
        with atomic_write(path) as part:
            part.write_text("half", encoding="utf-8")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        die()
    assert path.read_text(encoding="utf-8") == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_suffix_stays_so_that_writers_know_the_format(tmp_path):
    with atomic_write(tmp_path / "a.nii.gz") as part:
        assert part.name.endswith(".nii.gz")
        part.touch()


def test_a_folder_is_made(tmp_path):
    assert writable_dir(tmp_path / "a" / "b").is_dir()
    assert list((tmp_path / "a" / "b").iterdir()) == []


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="file/b is not a writable folder"):
        writable_dir(tmp_path / "file" / "b")


def test_two_processes_that_write_one_file_do_not_meet(tmp_path, monkeypatch):
    path = tmp_path / "a.txt"
    with atomic_write(path) as part:
        part.write_text("one", encoding="utf-8")
        monkeypatch.setattr("os.getpid", lambda: 7)
        with atomic_write(path) as other:
            other.write_text("two", encoding="utf-8")
        assert part.read_text(encoding="utf-8") == "one"
        assert path.read_text(encoding="utf-8") == "two"
    assert path.read_text(encoding="utf-8") == "one"


def part_of(path: Path, pid: int) -> Path:
    """A temporary file as another process of this machine makes it."""
    with atomic_write(path) as part:
        part.touch()
    found = part.with_name(part.name.replace(f"_{os.getpid()}_", f"_{pid}_"))
    found.write_bytes(b"half")
    return found


@pytest.mark.skipif(not hasattr(os, "fork"), reason="a platform without fork")
def test_half_of_a_file_whose_writer_is_no_more_is_removed_and_that_of_another_stays(tmp_path):
    gone = os.fork()
    if gone == 0:
        os._exit(0)
    os.waitpid(gone, 0)
    left, alive = part_of(tmp_path / "last.pt", gone), part_of(tmp_path / "last.pt", os.getppid())
    elsewhere = tmp_path / f".part_{'0000' if '_0000_' not in left.name else '0001'}_{gone}_last.pt"
    old = tmp_path / ".part_0002_1_last.pt"
    for path in (elsewhere, old):
        path.write_bytes(b"half")
    os.utime(old, (0, time.time() - 3600))
    writable_dir(tmp_path)
    assert set(tmp_path.glob(".*")) == {alive, elsewhere}


def by_the_system(part):
    part.write_bytes(b"half")
    raise OSError(28, "No space left on device")


def by_torch(part):
    part.write_bytes(b"half")
    raise RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 64 vs 0")


def by_a_stream(part):
    part.write_bytes(b"half")
    raise RuntimeError("basic_ios::clear: iostream error")


@pytest.mark.parametrize(
    ("write", "reason"),
    [
        (by_the_system, "No space left on device"),
        (by_torch, "the disk is full"),
        (by_a_stream, "the disk is full"),
    ],
)
def test_a_full_disk_is_named_with_the_file_and_leaves_the_old_one(tmp_path, write, reason):
    path = tmp_path / "last.pt"
    path.write_text("old", encoding="utf-8")
    with pytest.raises(OSError, match=rf"{path} cannot be written \({reason}") as error, atomic_write(path) as part:
        write(part)
    assert "\n" not in str(error.value)
    assert path.read_text(encoding="utf-8") == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_checkpoint_beyond_a_limit_of_size_is_named(tmp_path):
    resource = pytest.importorskip("resource")
    path, limits = tmp_path / "last.pt", resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (65536, limits[1]))
    try:
        with pytest.raises(OSError, match=f"^{path} cannot be written"), atomic_write(path) as part:
            torch.save(torch.zeros(100000), part)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("save", [torch.save, lambda state, path: path.write_text("x", encoding="utf-8")])
def test_what_forbids_a_file_is_said(tmp_path, save):
    tmp_path.chmod(0o555)
    words = rf"^{tmp_path}/last\.pt cannot be written \(Permission denied\): make the folder writable, or name another"
    try:
        with permissions_bind(), pytest.raises(OSError, match=words), atomic_write(tmp_path / "last.pt") as part:
            save({}, part)
    finally:
        tmp_path.chmod(0o755)


@pytest.mark.parametrize("save", [torch.save, lambda state, path: path.write_text("x", encoding="utf-8")])
def test_a_folder_that_is_gone_is_said(tmp_path, save):
    words = rf"^{tmp_path}/a/last\.pt cannot be written \({tmp_path}/a is no longer there\): put the folder back"
    with pytest.raises(OSError, match=words), atomic_write(tmp_path / "a" / "last.pt") as part:
        save({}, part)


def test_errors_that_are_not_of_the_disk_stay_what_they_are(tmp_path):
    with pytest.raises(RuntimeError, match=r"^shapes differ$"), atomic_write(tmp_path / "a"):
        raise RuntimeError("shapes differ")
    with pytest.raises(OSError, match=r"^cannot write mode RGBA as JPEG$"), atomic_write(tmp_path / "a"):
        raise OSError("cannot write mode RGBA as JPEG")
    with pytest.raises(FileNotFoundError, match="other/b"), atomic_write(tmp_path / "a"):
        (tmp_path / "other" / "b").read_text(encoding="utf-8")


def test_the_home_folder_is_meant_where_no_shell_says_so(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    folder = writable_dir("~/runs")
    with atomic_write("~/runs/a.txt") as part:
        part.write_text("new", encoding="utf-8")
    assert folder == tmp_path / "runs"
    assert (tmp_path / "runs" / "a.txt").read_text(encoding="utf-8") == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]


def test_text_is_utf8_and_names_that_are_no_text_keep_their_bytes(tmp_path):
    with text_file(tmp_path / "a.csv") as file:
        file.write("患者\r\nm\udcfcller\n")
    assert (tmp_path / "a.csv").read_bytes() == "患者\r\nm".encode() + b"\xfcller\n"


ROOT = Path(__file__).resolve().parents[2]
FILES_OF_BYTES = {"os.open", "Image.open", "gzip.open", "archive.open"}


def files_in_an_unsaid_encoding(path: Path) -> list[str]:
    """The calls of a program that read or write text in the encoding of whatever machine they run on."""
    calls = [node for node in ast.walk(ast.parse(path.read_bytes())) if isinstance(node, ast.Call)]
    return [
        f"{path.name}:{call.lineno}: {ast.unparse(call)}"
        for call in calls
        if ast.unparse(call.func).rpartition(".")[2] in ("open", "read_text", "write_text")
        and ast.unparse(call.func) not in FILES_OF_BYTES
        and not any(
            re.fullmatch("[rwax+]+b[+]?", str(word.value)) for word in call.args if isinstance(word, ast.Constant)
        )
        and not any(word.arg == "encoding" for word in call.keywords)
    ]


@pytest.mark.parametrize("room", ["flemme_monai", "tools", "tests"])
def test_no_text_is_read_or_written_in_the_platform_s_encoding(room):
    assert [said for path in sorted((ROOT / room).rglob("*.py")) for said in files_in_an_unsaid_encoding(path)] == []

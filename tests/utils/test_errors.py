"""Errors become one line on the command line."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from pydoc import ErrorDuringImport

import pytest
import torch
from monai.bundle import ConfigParser

from flemme_monai.utils import errors
from flemme_monai.utils.errors import first_cause, install_one_line_errors, one_line_error, one_line_errors


def chained(*chain: BaseException) -> BaseException:
    """The last of some errors, each the cause of the next."""
    for cause, error in pairwise(chain):
        error.__cause__ = cause
    return chain[-1]


def built(config: dict) -> BaseException:
    """The error of a network that cannot be built."""
    try:
        ConfigParser(config).get_parsed_content("network")
    except Exception as error:
        return error
    raise AssertionError("the network was built")


UNET = {"_target_": "flemme_monai.backbones.UNet", "spatial_dims": 2, "in_channels": 1, "out_channels": 2}
FAMILY = {"_target_": "flemme_monai.backbones.ConvFamily"}


def test_the_users_error_is_the_line_and_not_what_led_to_it_or_wraps_it() -> None:
    error = chained(KeyError("x"), ValueError("a.png: is broken"), RuntimeError("applying transform"))
    assert one_line_error(error) == "ValueError: a.png: is broken"


def test_an_error_of_several_lines_becomes_one() -> None:
    assert one_line_error(ValueError("one\ntwo")) == "ValueError: one two"


@pytest.mark.parametrize("error", [RuntimeError("x"), KeyError("x"), TypeError("x")])
def test_other_errors_keep_their_trace(error: BaseException) -> None:
    assert one_line_error(error) is None


@pytest.mark.parametrize(
    ("network", "line"),
    [
        ({**UNET, "chanels": [8]}, "flemme_monai.backbones.UNet has no setting 'chanels'; did you mean channels?"),
        ({**UNET, "family": {**FAMILY, "nrom": "batch"}}, "ConvFamily has no setting 'nrom'; did you mean norm?"),
        ({**UNET, "zzz": 1}, "UNet has no setting 'zzz'; there are spatial_dims, "),
        ({**UNET, "_target_": "flemme_monai.backbones.Unet"}, "'flemme_monai.backbones.Unet' is no class"),
        ({k: v for k, v in UNET.items() if k != "in_channels"}, "missing a required argument: 'in_channels'"),
    ],
)
def test_a_setting_that_a_component_does_not_take_is_named(network: dict, line: str) -> None:
    found = one_line_error(built({"network": network}))
    assert found.startswith("ValueError: ")
    assert line in found


def test_a_fault_inside_a_component_keeps_its_trace() -> None:
    assert one_line_error(built({"network": {**UNET, "channels": None}})) is None
    assert one_line_error(built({"network": {"_target_": "builtins.int", "x": 1}})) is None


def test_the_first_cause_of_a_kind_is_found() -> None:
    cause = ValueError("x")
    assert first_cause(chained(cause, RuntimeError(), KeyError()), ValueError, OSError) is cause
    assert first_cause(KeyError("x"), ValueError) is None


def test_errors_stay_as_they_are_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "excepthook", sys.__excepthook__)
    install_one_line_errors()
    assert sys.excepthook is sys.__excepthook__


def test_an_interrupt_during_an_import_is_one() -> None:
    """``pydoc.locate``, which MONAI's configs ask for components, packs what ends an import."""
    interrupt = KeyboardInterrupt()
    packed = ErrorDuringImport("flemme_monai/losses", (KeyboardInterrupt, interrupt, None))
    wrapped = chained(packed, RuntimeError("Failed to instantiate component"))
    assert first_cause(wrapped, KeyboardInterrupt) is interrupt
    assert one_line_error(wrapped).startswith("KeyboardInterrupt: stopped from the keyboard")


MEMORY = "lower batch_size, image_size or the network's channels, or free memory"


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (MemoryError(), f"MemoryError: no room for another array: {MEMORY}"),
        (MemoryError("Unable to allocate 9 GiB"), f"MemoryError: Unable to allocate 9 GiB: {MEMORY}"),
        (
            RuntimeError(
                "[enforce fail at alloc_cpu.cpp:1] . DefaultCPUAllocator: not enough memory: you tried 9 bytes."
            ),
            f"MemoryError: DefaultCPUAllocator: not enough memory: you tried 9 bytes: {MEMORY}",
        ),
        (
            torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nGPU 0 has"),
            f"MemoryError: CUDA out of memory: {MEMORY}",
        ),
        (
            KeyboardInterrupt(),
            "KeyboardInterrupt: stopped from the keyboard; --resume True goes on after a training's last epoch",
        ),
        (
            OSError(28, "No space left on device"),
            "OSError: the output of this program cannot be written (No space left on device): send it to another disk",
        ),
        (
            RuntimeError("[../gloo/transport/tcp/pair.cc:537] Connection closed by peer [127.0.0.1]:28"),
            "RuntimeError: another process of this distributed run has ended: its own error says why",
        ),
        (
            BrokenPipeError(32, "Broken pipe"),
            "BrokenPipeError: what read the output of this program has ended: send the output to a file instead",
        ),
    ],
)
def test_what_ends_a_run_from_outside_is_one_line(error: BaseException, line: str) -> None:
    assert one_line_error(chained(error, RuntimeError("Failed to evaluate"))) == line


def test_an_error_that_names_its_file_keeps_its_words() -> None:
    assert one_line_error(OSError(28, "No space left on device", "/a/b")).endswith("No space left on device: '/a/b'")
    assert one_line_error(OSError("/a/b cannot be written")) == "OSError: /a/b cannot be written"


def test_what_pytorch_says_without_memory_is_a_memory_error() -> None:
    with pytest.raises(RuntimeError) as error:
        torch.empty(1 << 50)
    line = one_line_error(error.value)
    assert line.startswith("MemoryError: ")
    assert line.endswith(MEMORY)


def ended(tmp_path: Path, program: str, **options) -> subprocess.CompletedProcess:
    """What ``python -m monai.bundle run`` is when this is what it runs."""
    main = tmp_path / "monai" / "bundle" / "__main__.py"
    main.parent.mkdir(parents=True)
    install = "from flemme_monai.utils import install_one_line_errors\ninstall_one_line_errors()\n"
    main.write_text(install + program, encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2]), **options}
    command = [sys.executable, str(main), "run"]
    return subprocess.run(command, env=environment, capture_output=True, check=False)


HINT = "; FLEMME_TRACEBACK=1 shows the trace"


@pytest.mark.parametrize("trace", [False, True])
def test_the_command_line_ends_in_the_line_unless_the_trace_is_asked_for(tmp_path: Path, trace: bool) -> None:
    done = ended(tmp_path, "raise ValueError('a.png: broken')", **({"FLEMME_TRACEBACK": "1"} if trace else {}))
    assert done.returncode == 1
    lines = done.stderr.decode().splitlines()
    assert lines[-1] == "ValueError: a.png: broken" + ("" if trace else HINT)
    assert (len(lines) > 1) == trace


def test_an_interrupt_ends_in_a_line_and_130_and_names_beyond_the_terminals_encoding_are_printed(
    tmp_path: Path,
) -> None:
    # a test run in the background of a shell ignores the signal, and so would its children
    program = "import os, signal\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n"
    program += "print('患者')\nos.kill(os.getpid(), signal.SIGINT)"
    done = ended(tmp_path, program, LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0")
    assert done.returncode == 130
    assert done.stdout == b"\\u60a3\\u8005\n"
    (line,) = done.stderr.decode().splitlines()
    assert line.startswith("KeyboardInterrupt: stopped from the keyboard")
    assert line.endswith(HINT)


def test_a_reader_that_has_ended_is_reported_once_and_a_failing_thread_is_not(tmp_path: Path) -> None:
    thread = "import threading\ndef fail(): raise OSError(28, 'full')\n"
    thread += "t = threading.Thread(target=fail)\nt.start()\nt.join()"
    pipe = "import os, sys\nr, w = os.pipe()\nos.close(r)\nos.dup2(w, 1)\nprint('x' * 10, flush=True)"
    done = ended(tmp_path, f"{thread}\n{pipe}")
    assert done.returncode == 1
    (line,) = done.stderr.decode().splitlines()
    assert line.startswith("BrokenPipeError: what read the output")


def test_the_line_is_printed_in_a_distributed_run_whose_hook_pytorch_wraps(tmp_path: Path) -> None:
    group = f"init_process_group('gloo', 'file://{tmp_path}/meeting', rank=0, world_size=1)"
    done = ended(tmp_path, f"import torch.distributed\ntorch.distributed.{group}\nraise KeyboardInterrupt")
    assert done.returncode == 130
    assert any(line.endswith(HINT) for line in done.stderr.decode().splitlines()), done.stderr


def test_a_program_without_streams_ends_as_others(monkeypatch: pytest.MonkeyPatch) -> None:
    for changed in ("sys.excepthook", "threading.excepthook", "logging.raiseExceptions"):
        monkeypatch.setattr(changed, None)
    monkeypatch.setattr(errors, "on_command_line", lambda: True)
    monkeypatch.setattr("sys.stdout", None)
    level = logging.getLogger("ignite").level
    try:
        install_one_line_errors()
        with pytest.raises(SystemExit) as end, one_line_errors():
            raise ValueError("a.png: broken")
    finally:
        logging.getLogger("ignite").setLevel(level)
    assert end.value.code == 1


def test_a_tool_names_the_way_to_the_trace() -> None:
    path = Path(__file__).resolve().parents[2] / "tools" / "make_bundles.py"
    command = [sys.executable, str(path), "--pair", "x"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("ValueError: there is no pair 'x'")
    assert line.endswith(HINT)

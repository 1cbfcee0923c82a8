"""Errors become one line on the command line."""

from __future__ import annotations

import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
from monai.bundle import ConfigParser

from flemme_monai.utils.errors import first_cause, plain_errors, plain_line


def chained(*errors: BaseException) -> BaseException:
    """The last of some errors, each the cause of the next."""
    for cause, error in pairwise(errors):
        error.__cause__ = cause
    return errors[-1]


def built(config: dict) -> BaseException:
    """The error of a network that cannot be built."""
    try:
        ConfigParser(config).get_parsed_content("network")
    except Exception as error:
        return error
    raise AssertionError("the network was built")


UNET = {"_target_": "flemme_monai.backbones.UNet", "spatial_dims": 2, "in_channels": 1, "out_channels": 2}
FAMILY = {"_target_": "flemme_monai.backbones.ConvFamily"}


def test_the_users_error_is_told_and_not_what_led_to_it_or_wraps_it() -> None:
    error = chained(KeyError("x"), ValueError("a.png: is broken"), RuntimeError("applying transform"))
    assert plain_line(error) == "ValueError: a.png: is broken"


def test_an_error_of_several_lines_becomes_one() -> None:
    assert plain_line(ValueError("one\ntwo")) == "ValueError: one two"


@pytest.mark.parametrize("error", [RuntimeError("x"), KeyError("x"), TypeError("x"), KeyboardInterrupt()])
def test_other_errors_keep_their_trace(error: BaseException) -> None:
    assert plain_line(error) is None


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
    told = plain_line(built({"network": network}))
    assert told.startswith("ValueError: ")
    assert line in told


def test_a_fault_inside_a_component_keeps_its_trace() -> None:
    assert plain_line(built({"network": {**UNET, "channels": None}})) is None
    assert plain_line(built({"network": {"_target_": "builtins.int", "x": 1}})) is None


def test_the_first_cause_of_a_kind_is_found() -> None:
    cause = ValueError("x")
    assert first_cause(chained(cause, RuntimeError(), KeyError()), ValueError, OSError) is cause
    assert first_cause(KeyError("x"), ValueError) is None


def test_errors_stay_as_they_are_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "excepthook", sys.__excepthook__)
    plain_errors()
    assert sys.excepthook is sys.__excepthook__


@pytest.mark.parametrize("trace", [False, True])
def test_the_command_line_ends_in_the_line_unless_the_trace_is_asked_for(tmp_path: Path, trace: bool) -> None:
    program = tmp_path / "monai" / "bundle" / "__main__.py"
    program.parent.mkdir(parents=True)
    program.write_text(
        "from flemme_monai.utils import plain_errors\nplain_errors()\nraise ValueError('a.png: broken')\n"
    )
    environment = {"PYTHONPATH": str(Path(__file__).resolve().parents[2])} | (
        {"FLEMME_TRACEBACK": "1"} if trace else {}
    )
    done = subprocess.run(
        [sys.executable, str(program), "run"], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "ValueError: a.png: broken"
    assert ("Traceback" in done.stderr) == trace

"""What the type checker is told not to see has a reason."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
IGNORED = re.compile(r"#\s*(type:\s*ignore|mypy:)")
WITH_REASON = re.compile(r"# type: ignore\[[a-z-]+(, [a-z-]+)*\]  # \w.{7,}$")


def without_reason(text: str) -> list[str]:
    """Lines that hide an error of the type checker, or a kind of error, without saying why."""
    return [line.strip() for line in text.splitlines() if IGNORED.search(line) and not WITH_REASON.search(line)]


def test_what_the_type_checker_does_not_see_has_a_reason():
    found = {
        f"{path.relative_to(ROOT)}: {line}"
        for folder in ("flemme_monai", "tools")
        for path in (ROOT / folder).rglob("*.py")
        for line in without_reason(path.read_text(encoding="utf-8"))
    }
    assert not found


@pytest.mark.parametrize(
    "comment", ["# type: ignore", "# type:ignore[arg-type]", "# type: ignore[arg-type]  # why", "# mypy: ignore-errors"]
)
def test_an_error_is_not_hidden_without_a_kind_and_a_reason(comment):
    assert without_reason(f"x = f(y)  {comment}") == [f"x = f(y)  {comment}"]


def test_a_reason_stands_behind_the_kind_of_error():
    assert not without_reason("x = f(y)  # type: ignore[arg-type]  # MONAI names a private class")

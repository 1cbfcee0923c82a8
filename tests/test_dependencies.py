"""What the package asks for, what bundles pin and the oldest versions that are tested fit together."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[1]


def requirements(lines: list[str]) -> dict[str, Requirement]:
    """Requirements by name."""
    return {requirement.name: requirement for line in lines if line for requirement in [Requirement(line)]}


def pins(name: str) -> dict[str, Version]:
    """The versions that a file pins, each exactly."""
    found = requirements((ROOT / name).read_text(encoding="utf-8").splitlines())
    assert [str(r) for r in found.values() if not re.fullmatch(r"==[\d.]+(post\d+)?", str(r.specifier))] == []
    return {name: Version(str(requirement.specifier)[2:]) for name, requirement in found.items()}


@pytest.fixture(scope="module")
def ranges() -> dict[str, Requirement]:
    """What pyproject.toml asks for."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    (listed,) = re.findall(r"^dependencies = \[\n(.*?)^\]", text, re.MULTILINE | re.DOTALL)
    return requirements(re.findall(r'"([^"]+)"', listed))


def test_every_pin_of_the_bundles_lies_in_its_range(ranges: dict[str, Requirement]) -> None:
    pinned = pins("requirements.txt")
    assert pinned.keys() == ranges.keys()
    assert [name for name, version in pinned.items() if version not in ranges[name].specifier] == []


def test_optional_packages_are_tested_in_a_version_of_their_range() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    (listed,) = re.findall(r"^\[project.optional-dependencies\]\n(.*?)\n\n", text, re.MULTILINE | re.DOTALL)
    optional = requirements(re.findall(r'"([^"]+)"', listed))
    names = ("requirements-dev.txt", "requirements-demo.txt", "requirements-cluster.txt")
    pinned = {package: version for name in names for package, version in pins(name).items()}
    assert [name for name, r in optional.items() if pinned[name] not in r.specifier] == []


def test_the_oldest_versions_tested_are_the_lower_bounds(ranges: dict[str, Requirement]) -> None:
    bounds = {
        name: Version(specifier.version)
        for name, requirement in ranges.items()
        for specifier in requirement.specifier
        if specifier.operator == ">="
    }
    assert pins("requirements-lowest.txt") == bounds

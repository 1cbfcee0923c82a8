"""What the Dockerfile, the compose file and the development container say, read without an engine."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from flemme_monai import cli
from flemme_monai.commands import demo

ROOT = Path(__file__).resolve().parents[2]
Instruction = tuple[str, str]


def instructions(text: str) -> list[Instruction]:
    """The instructions of a Dockerfile and what they are given, without comments, each on one line."""
    text = re.sub(r"^\s*#.*\n", "", text, flags=re.MULTILINE).replace("\\\n", " ")
    return [
        (word.upper(), " ".join(rest.split()))
        for word, _, rest in (li.partition(" ") for li in text.splitlines() if li)
    ]


def faults(text: str) -> list[str]:
    """What a linter has against a Dockerfile: the rules of hadolint that matter to what ours holds."""
    found, stages = [], set()
    lines = instructions(text)
    for word, given in lines:
        if word == "FROM":
            image, _, stage = given.partition(" AS ")
            name = re.sub(r"\$\{(\w+)\}", lambda m: default_of(lines, m[1]), image)
            if image not in stages and not re.fullmatch(r"[\w./-]+:\d+\.\d+\.\d+[\w.-]*", name):
                found.append(f"DL3006 {image} is not pinned")
            stages.add(stage)
        if word == "RUN" and "pip install" in given and given.count("pip install") > given.count("--no-cache-dir"):
            found.append("DL3042 pip keeps its cache")
        if word == "RUN" and re.search(r"\bsudo\b", given):
            found.append("DL3004 sudo")
        if word == "RUN" and "apt-get install" in given and "/var/lib/apt/lists" not in given:
            found.append("DL3009 apt's lists stay")
        if word == "ADD":
            found.append("DL3020 ADD in the place of COPY")
        if word == "WORKDIR" and not given.startswith("/"):
            found.append("DL3000 a relative folder")
        if word in ("CMD", "ENTRYPOINT") and not given.startswith("["):
            found.append("DL3025 a command as a line of a shell")
    users = [given for word, given in lines if word == "USER"]
    if not users or users[-1] in ("root", "0"):
        found.append("DL3002 the last user is root")
    return found


def default_of(lines: list[Instruction], name: str) -> str:
    """The default of a build argument."""
    given = next((given for word, given in lines if word == "ARG" and given.startswith(f"{name}=")), "=")
    return given.partition("=")[2]


@pytest.fixture(scope="module")
def dockerfile() -> str:
    return (ROOT / "Dockerfile").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))


def test_the_linter_has_nothing_against_the_dockerfile(dockerfile: str) -> None:
    assert faults(dockerfile) == []


@pytest.mark.parametrize(
    ("now", "then", "rule"),
    [
        ("3.12.11-slim-bookworm", "latest", "DL3006"),
        ("3.12.11-slim-bookworm", "3.12-slim", "DL3006"),
        ("--no-cache-dir -r requirements.txt", "-r requirements.txt", "DL3042"),
        ("USER 1000\nEXPOSE", "EXPOSE", ""),
        ("USER 1000", "USER root", "DL3002"),
        ('CMD ["flemme-monai", "demo",', "CMD flemme-monai demo", "DL3025"),
        ("COPY --chown=flemme", "ADD", "DL3020"),
        ("WORKDIR /home/flemme", "WORKDIR home", "DL3000"),
    ],
)
def test_the_linter_finds_what_is_wrong(dockerfile: str, now: str, then: str, rule: str) -> None:
    assert now in dockerfile
    assert [fault[:6] for fault in faults(dockerfile.replace(now, then))][:1] == ([rule] if rule else [])


@pytest.mark.skipif(shutil.which("hadolint") is None, reason="hadolint is not installed: requirements-dev.txt")
def test_hadolint_has_nothing_against_the_dockerfile() -> None:
    done = subprocess.run(["hadolint", str(ROOT / "Dockerfile")], capture_output=True, text=True, check=False)
    assert done.stdout == ""


def test_the_last_stage_has_its_own_user(dockerfile: str) -> None:
    last = dockerfile.rpartition("\nFROM ")[2]
    assert [given for word, given in instructions(last) if word == "USER"] == ["1000"]


def test_all_that_is_copied_is_there_and_not_ignored(dockerfile: str) -> None:
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    for word, given in instructions(dockerfile):
        if word == "COPY" and "--from" not in given:
            *sources, _ = [name for name in given.split() if not name.startswith("--")]
            for source in sources:
                assert (ROOT / source).exists(), source
                kept = "requirements*.txt" if source.startswith("requirements") else source
                assert f"!{kept}" in ignored, source


def test_packages_come_from_the_pinned_files(dockerfile: str) -> None:
    runs = " ".join(given for word, given in instructions(dockerfile) if word == "RUN")
    installed = re.findall(r"pip install --no-cache-dir (.*?)(?= &&|$| RUN| pip)", runs)
    for words in map(str.split, installed):
        files = [words[i + 1] for i, word in enumerate(words) if word == "-r"]
        assert files or "'^torch=='" in words or words[:1] == ["--no-deps"], words
        assert all((ROOT / name).is_file() for name in files)
    assert re.search(r"^torch==[\d.]+$", (ROOT / "requirements.txt").read_text(encoding="utf-8"), re.MULTILINE)


def test_the_python_is_one_that_the_package_takes(dockerfile: str) -> None:
    minor = int(default_of(instructions(dockerfile), "PYTHON").split(".")[1])
    assert 10 <= minor < 13


def test_the_device_is_cpu_or_cuda(dockerfile: str, tmp_path: Path) -> None:
    """The script of the build runs here, with a pip that says what it is given."""
    script = next(given for word, given in instructions(dockerfile) if word == "RUN" and "case" in given)
    (tmp_path / "pip").write_text('#!/bin/sh\necho "$@"\n', encoding="utf-8")
    (tmp_path / "pip").chmod(0o755)
    outputs = {}
    for device in ("cpu", "cuda", "tpu"):
        env = {"PATH": f"{tmp_path}:/usr/bin:/bin", "DEVICE": device}
        outputs[device] = subprocess.run(
            ["bash", "-o", "pipefail", "-c", script], cwd=ROOT, env=env, capture_output=True, text=True, check=False
        )
    assert "whl/cpu torch==" in outputs["cpu"].stdout
    assert "pypi.org/simple torch==" in outputs["cuda"].stdout
    assert outputs["tpu"].returncode == 1
    assert "DEVICE is 'tpu'; expected cpu or cuda" in outputs["tpu"].stderr


def test_the_services_train_and_serve_with_data_and_outputs_as_mounts(compose: dict[str, Any]) -> None:
    assert set(compose["services"]) == {"train", "demo"}
    for service in compose["services"].values():
        targets = [volume.rpartition(":")[0 if volume.endswith(":ro") else 2] for volume in service["volumes"]]
        assert [target.rpartition(":")[2] for target in targets] == ["/data", "/outputs"]
        assert service["volumes"][0].endswith(":ro")
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]


def test_the_demo_is_offered_to_this_machine_alone(compose: dict[str, Any]) -> None:
    service = compose["services"]["demo"]
    assert service["ports"] == ["127.0.0.1:7860:7860"]
    words = service["command"]
    assert words[:2] == ["flemme-monai", "demo"]
    assert "demo" in cli.COMMANDS
    args = demo.parser().parse_args(words[2:])
    assert (args.port, str(args.dataset_dir)) == (7860, "/data")


def test_commands_are_those_of_the_readme(compose: dict[str, Any], dockerfile: str) -> None:
    pages = (ROOT / "README.md").read_text(encoding="utf-8") + (ROOT / "docs/demo.md").read_text(encoding="utf-8")
    train = compose["services"]["train"]["command"]
    config = train[5].removeprefix("${CONFIG:-").removesuffix("}")
    assert shlex.join([*train[:5], config]) in pages
    assert (ROOT / config).is_file()
    settings = dict(zip(train[6::2], train[7::2], strict=True))
    assert settings == {"--ckpt_dir": "/outputs/models", "--output_dir": "/outputs/output"}
    command = json.loads(next(given for word, given in instructions(dockerfile) if word == "CMD"))
    assert shlex.join(command[:2]) in pages
    demo.parser().parse_args(command[2:])


def test_the_development_container_is_a_stage_of_the_same_file(dockerfile: str) -> None:
    path = ROOT / ".devcontainer" / "devcontainer.json"
    said = json.loads(path.read_text(encoding="utf-8"))
    assert (path.parent / said["build"]["dockerfile"]).resolve() == ROOT / "Dockerfile"
    assert (path.parent / said["build"]["context"]).resolve() == ROOT
    assert f" AS {said['build']['target']}\n" in dockerfile
    assert f"useradd --create-home --uid 1000 {said['remoteUser']}" in dockerfile
    python = said["customizations"]["vscode"]["settings"]["python.defaultInterpreterPath"]
    assert f"python -m venv {Path(python).parents[1]}" in dockerfile

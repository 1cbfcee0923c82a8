"""Every check of a bundle finds the fault it is for, and says it in one line."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from flemme_monai.commands import bundle_checks, bundle_files, bundle_runs
from flemme_monai.commands import check as check_bundle
from flemme_monai.commands.bundle_checks import (
    ExemptError,
    forward_arguments,
    live_checks,
    make_weights,
    temporary_copy,
)
from flemme_monai.commands.bundle_files import (
    AUTOENCODER_WEIGHTS,
    STATIC_CHECKS,
    WEIGHTS,
    read_config,
    trainings,
    workflows,
)
from flemme_monai.commands.bundle_runs import read_stack
from flemme_monai.commands.places import BUNDLES

Edit = Callable[[dict[str, Any]], object]


def edit(bundle: Path, name: str, change: Edit) -> None:
    """Change one of a bundle's configs."""
    config = read_config(bundle, name)
    change(config)
    (bundle / "configs" / f"{name}.json").write_text(json.dumps(config), encoding="utf-8")


def files_of(bundle: Path) -> dict[str, bytes]:
    return {str(path.relative_to(bundle)): path.read_bytes() for path in bundle.rglob("*") if path.is_file()}


@pytest.fixture
def whole(bundle: Path) -> Path:
    """A bundle with random weights, in a place where it may be run."""
    make_weights(bundle)
    return bundle


@pytest.fixture
def latent(tmp_path: Path) -> Path:
    """A bundle of latent diffusion without weights."""
    copy = tmp_path / "bundles" / "ldm_cnn"
    shutil.copytree(BUNDLES / "ldm_cnn", copy, ignore=shutil.ignore_patterns("models", "output"))
    return copy


def test_a_whole_bundle_passes_every_check(bundle: Path, capfd: pytest.CaptureFixture[str]) -> None:
    before = files_of(bundle)
    status = check_bundle.main([str(bundle), "--jobs", "1"])
    lines = capfd.readouterr().out.splitlines()
    assert status == 0, "\n".join(lines)
    checks = len(STATIC_CHECKS) + len(live_checks(bundle))
    assert len([line for line in lines if line.startswith("ok")]) == checks
    assert f"1 bundles, {checks} checks" in "\n".join(lines)
    assert any("temporary checkpoints" in line and "sem_unet" in line for line in lines)
    assert files_of(bundle) == before, "a check wrote into the bundle itself"


def test_checks_run_in_the_zoos_order(bundle: Path) -> None:
    order = [*STATIC_CHECKS, *live_checks(bundle)]
    first = [order.index(name) for name in ("structure", "version", "metadata", "network", "torchscript")]
    runs = [order.index(f"{name}, repository's root") for name in ("train", "evaluate", "inference")]
    assert first + runs == sorted(first + runs)


def test_properties_are_asked_for_before_a_run_and_without(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = {}
    for place in bundle_runs.PLACES:
        monkeypatch.setattr(bundle_runs, "run_short", lambda *args, ask_first: asked.update({place: ask_first}))  # noqa: B023
        bundle_runs.check_run(bundle, "evaluate", place)
    assert sorted(asked.values()) == [False, False, True]


def test_latent_diffusion_trains_its_autoencoder_first(latent: Path, bundle: Path) -> None:
    assert trainings(bundle) == ("train",)
    assert list(workflows(latent)) == ["train_autoencoder", "train_diffusion", "evaluate", "inference"]
    assert workflows(latent)["evaluate"] == ("train_diffusion", "evaluate")
    (latent / "configs" / "train_autoencoder.json").unlink()
    with pytest.raises(ValueError, match=r"missing configs/train_autoencoder\.json"):
        bundle_files.check_structure(latent)


def test_latent_diffusion_gets_both_weights_and_a_scale(latent: Path) -> None:
    assert bundle_files.check_structure(latent) == f"no {AUTOENCODER_WEIGHTS}, {WEIGHTS}"
    with temporary_copy(latent) as copy:
        weights = torch.load(copy / WEIGHTS, weights_only=True)
        assert weights["scale_factor"] == 1
        assert all(tensor.any() for tensor in weights.values()), "a layer of zeros checks nothing"
        assert torch.load(copy / AUTOENCODER_WEIGHTS, weights_only=True).keys() != weights.keys()


@pytest.mark.parametrize(
    ("pair", "expected"),
    [
        ("clm_cnn", {}),
        ("vae_cnn", {}),
        ("edm_cnn", {"timesteps": (2,)}),
        ("sdm_vit", {"timesteps": (2,), "context": (2, 1, 16, 16)}),
    ],
)
def test_a_network_is_given_what_it_takes(pair: str, expected: dict[str, tuple[int, ...]]) -> None:
    bundle = bundle_files.find_bundle(pair)
    network = read_stack(bundle, ("inference",)).get_parsed_content("network_def")
    arguments = forward_arguments(network, 2, (16, 16))
    assert {name: tuple(value.shape) for name, value in arguments.items()} == expected


@pytest.mark.parametrize("name", bundle_files.required_files(BUNDLES / "sem_unet"))
def test_a_missing_file_is_named(bundle: Path, name: str) -> None:
    (bundle / name).unlink()
    with pytest.raises(ValueError, match=f"missing {name}"):
        bundle_files.check_structure(bundle)


def test_a_bundle_with_a_missing_file_is_not_run(bundle: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (bundle / "configs" / "train.json").unlink()
    assert check_bundle.main([str(bundle), "--jobs", "1"]) == 1
    assert "FAIL    sem_unet" in (printed := capfd.readouterr().out)
    assert f"{len(STATIC_CHECKS)} checks" in printed


@pytest.mark.parametrize(
    ("check", "config", "change", "message"),
    [
        ("version", "metadata", lambda c: c.update(version="7.0.0"), r"version 7\.0\.0 is not in the changelog"),
        ("version", "metadata", lambda c: c.pop("changelog"), "needs a 'version' and a 'changelog'"),
        (
            "self-contained",
            "train",
            lambda c: c["loss"].update(_target_="DiceLoss"),
            r"train\.json loss#_target_ is 'DiceLoss', expected a full dotted path",
        ),
        (
            "self-contained",
            "evaluate",
            lambda c: c.update(output_dir="%train.json#output_dir"),
            r"evaluate\.json output_dir reads another file",
        ),
    ],
)
def test_a_fault_in_the_files_is_named(bundle: Path, check: str, config: str, change: Edit, message: str) -> None:
    STATIC_CHECKS[check](bundle)
    edit(bundle, config, change)
    with pytest.raises(ValueError, match=message):
        STATIC_CHECKS[check](bundle)


def test_a_config_that_is_not_json_is_named(bundle: Path) -> None:
    (bundle / "configs" / "train.json").write_text("{", encoding="utf-8")
    with pytest.raises(ValueError, match=r"configs/train\.json is not JSON"):
        bundle_files.check_self_contained(bundle)


def test_a_large_file_must_be_hosted_elsewhere(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundle_files, "MAX_BYTES", 100_000)
    (bundle / "docs" / "film.gif").write_bytes(bytes(100_001))
    with pytest.raises(ValueError, match=r"over 25 MB and not in large_files\.yml: docs/film\.gif"):
        bundle_files.check_file_sizes(bundle)
    (bundle / "large_files.yml").write_text(
        'large_files:\n  - path: "docs/film.gif"\n    url: "https://x.org/f"\n', encoding="utf-8"
    )
    bundle_files.check_file_sizes(bundle)


def test_python_in_a_bundle_is_named(bundle: Path) -> None:
    (bundle / "scripts").mkdir()
    (bundle / "scripts" / "net.py").write_text("", encoding="utf-8")
    with pytest.raises(ValueError, match=r"Python inside the bundle: scripts/net\.py"):
        bundle_files.check_no_python(bundle)


@pytest.mark.parametrize(
    ("check", "config", "change", "message"),
    [
        ("metadata", "metadata", lambda c: c.pop("task"), "'task' is a required property"),
        ("metadata", "metadata", lambda c: c.update(schema="https://x.org/other.json"), "expected a URL that ends in"),
        (
            "metadata",
            "metadata",
            lambda c: c.update(numpy_version="2.4.0"),
            r"2\.4\.0 does not install on Python 3\.10",
        ),
        ("keys", "train", lambda c: c.pop("learning_rate"), r"train\.json: learning_rate"),
        ("keys", "inference", lambda c: c.pop("checkpointloader"), r"inference\.json: checkpointloader"),
        ("references", "evaluate", lambda c: c.update(run=["$@no_such.run()"]), "evaluate, .*@no_such"),
        ("references", "inference", lambda c: c["inferer"].update(_target_="monai.Nothing"), r"import monai\.Nothing"),
        (
            "network",
            "metadata",
            lambda c: c["network_data_format"]["outputs"]["pred"].update(num_channels=9),
            "channel number .* doesn't match: `9`",
        ),
        (
            "network",
            "metadata",
            lambda c: c["network_data_format"]["inputs"]["image"].update(spatial_shape=["6*n", "6*n"]),
            r"not divisible",
        ),
        ("network", "inference", lambda c: c["network_def"].update(a_misspelt_setting=1), "a_misspelt_setting"),
        ("load", "train", lambda c: c["network_def"]["backbone"].update(channels=[8, 8]), "train: .* entries differ"),
        ("bundle_root", "train", lambda c: c.update(bundle_root="."), r"train\.json: bundle_root is"),
        (
            "inference, repository's root",
            "inference",
            lambda c: c.update(evaluator={"_target_": "ignite.engine.Engine", "process_function": "$print"}),
            "the evaluator is a Engine, expected a SupervisedEvaluator",
        ),
        ("train, repository's root", "train", lambda c: c["train"].pop("inferer"), "train::inferer"),
        ("inference, elsewhere", "inference", lambda c: c.update(run=["$1 / 0"]), "division by zero"),
        (
            "inference, inside the bundle",
            "inference",
            lambda c: c.update(run=["$open('../../stray.txt', 'w').close()"]),
            r"wrote outside its bundle_root: stray\.txt",
        ),
    ],
)
def test_a_fault_in_what_it_does_is_named(whole: Path, check: str, config: str, change: Edit, message: str) -> None:
    edit(whole, config, change)
    result = check_bundle.run_check(whole, check, live_checks(whole)[check])
    assert result.status == "FAIL"
    assert "\n" not in result.message
    assert re.search(message, result.message), result.message


def test_a_bundle_in_anothers_folder_does_not_take_it_for_its_own(whole: Path) -> None:
    here = "$next(p for p in ('.', 'bundles/sem_unet') if __import__('os').path.isdir(p + '/configs'))"
    for name in ("train", "inference"):
        edit(whole, name, lambda config: config.update(bundle_root=here))
    with pytest.raises(ValueError, match="another bundle's folder"):
        bundle_checks.check_bundle_root(whole)


def test_an_exemption_from_torchscript_gives_its_reason_and_must_be_needed(
    whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bundle_checks, "TORCHSCRIPT_EXEMPTIONS", {"sem_*": "its blocks are data-dependent"})
    with pytest.raises(ValueError, match=r"is exempted .* but exports"):
        bundle_checks.check_torchscript(whole)
    (whole / WEIGHTS).unlink()
    with pytest.raises(ExemptError, match="its blocks are data-dependent"):
        bundle_checks.check_torchscript(whole)
    assert check_bundle.run_check(whole, "torchscript", bundle_checks.check_torchscript).status == "exempt"


def test_trained_weights_are_the_ones_that_are_checked(whole: Path) -> None:
    with temporary_copy(whole) as copy:
        assert (copy / WEIGHTS).read_bytes() == (whole / WEIGHTS).read_bytes()


def test_a_temporary_checkpoint_stays_temporary(bundle: Path) -> None:
    with temporary_copy(bundle) as copy:
        assert (copy / WEIGHTS).is_file()
        assert not (bundle / WEIGHTS).exists()
    assert not copy.exists()


def test_an_unknown_name_says_where_it_looked(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        check_bundle.main(["no_such_bundle"])
    assert "no bundle 'no_such_bundle': neither" in capsys.readouterr().err

"""Every bundle is as its maker writes it and passes every check, the short runs of its workflows included."""

from __future__ import annotations

import importlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from monai.transforms import LoadImage

from flemme_monai.commands.bundle_checks import temporary_copy
from flemme_monai.commands.bundle_files import workflows
from flemme_monai.commands.bundle_runs import run_short
from flemme_monai.commands.check import check_bundle
from flemme_monai.commands.make import main
from flemme_monai.commands.onnx_checks import check_onnx
from flemme_monai.commands.places import BUNDLES
from flemme_monai.published import PUBLISHED
from flemme_monai.recipes import differences, make_bundle, trained_bundles, write
from flemme_monai.registry import ARCHITECTURES, ENCODERS, pairs
from flemme_monai.utils.settings import default_of

SHIPPED = pairs(shipped=True)


def _is_light(pair: str) -> bool:
    """Whether a pair is a network's of less than ten million parameters, in segmentation."""
    architecture, _, key = pair.partition("_")
    return architecture == "sem" and any(row.key == key and row.parameters < 10_000_000 for row in PUBLISHED)


# a network from elsewhere is tested in a small size; whole bundles are run of those that are small as published
RUN = tuple(pair for pair in SHIPPED if pair.partition("_")[2] in ENCODERS or _is_light(pair))

ROOT = Path(__file__).resolve().parents[2]


def test_the_folder_holds_the_pairs_that_are_shipped_and_the_trained_bundles():
    assert sorted(p.name for p in BUNDLES.iterdir()) == sorted(
        [*SHIPPED, *(bundle.name for bundle in trained_bundles())]
    )


@pytest.mark.parametrize("pair", SHIPPED)
def test_a_bundle_is_what_the_maker_writes(pair):
    assert differences(BUNDLES / pair, make_bundle(pair)) == []


KINDS = ["sem_vitd", "hsem_vmambau", "ae_cnn", "hae_unet", "clm_swin", "vae_vmamba"]
KINDS += ["ddpm_dnet", "edm_swinu", "sdm_unet", "dsem_unet", "ldm_cnn"]
IN_3D = ["sem_cnn", "hsem_swinu", "ae_swin", "hae_dnet", "hsem_vitu", "hae_vmambad"]
IN_3D += ["clm_vit", "vae_swin", "ddpm_swinu", "edm_cnn", "sdm_vmambad", "dsem_cnn", "ldm_vit"]


def marked(fast: list[str], every: Sequence[str] = RUN) -> list:
    """Pairs as parameters, of which those that are not among the fast ones are slow."""
    return [pytest.param(pair, marks=[] if pair in fast else pytest.mark.slow) for pair in every]


def test_a_kind_is_one_pair_of_each_architecture():
    assert [pair.partition("_")[0] for pair in KINDS] == list(ARCHITECTURES)


@pytest.mark.parametrize("pair", marked(KINDS))
def test_a_bundle_passes_every_check(pair):
    failed = [str(result) for result in check_bundle(BUNDLES / pair) if result.status != "ok"]
    assert failed == []


@pytest.mark.slow
@pytest.mark.parametrize("pair", [*(f"sem_{key}" for key in ENCODERS), *KINDS[1:], "clm_cnn"])
def test_a_bundle_s_graph_has_the_network_s_numbers(pair):
    pytest.importorskip("onnxruntime")
    with temporary_copy(BUNDLES / pair) as copy:
        check_onnx(copy)


@pytest.mark.parametrize("pair", marked(["hsem_swinu", "clm_vit", "sdm_vmambad"], IN_3D))
def test_3d_needs_two_settings_and_nothing_more(pair, tmp_path):
    write(tmp_path / pair, make_bundle(pair))
    override = {"spatial_dims": 3, "image_size": [16, 16, 16], "bundle_root": str(tmp_path / pair)}
    for names in workflows(tmp_path / pair).values():
        run_short(tmp_path / pair, [str(tmp_path / pair / "configs" / f"{name}.json") for name in names], override)
    written = [path.name for path in (tmp_path / pair / "output" / "inference").iterdir()]
    results = {"predictions.csv"} if pair.startswith("clm") else {n for n in written if n.endswith(".nii.gz")}
    assert results
    assert results <= set(written)


def test_one_pair_is_made_with_any_settings_in_any_folder(tmp_path):
    main("hsem_swinu", str(tmp_path), "liver", num_classes=3, **{"network_def#backbone#channels": [16, 32, 64]})
    train = json.loads((tmp_path / "liver" / "configs" / "train.json").read_text(encoding="utf-8"))
    inference = json.loads((tmp_path / "liver" / "configs" / "inference.json").read_text(encoding="utf-8"))
    metadata = json.loads((tmp_path / "liver" / "configs" / "metadata.json").read_text(encoding="utf-8"))
    assert train["num_classes"] == default_of(inference["num_classes"]) == 3
    assert train["network_def"]["backbone"]["channels"] == inference["network_def"]["backbone"]["channels"]
    assert metadata["network_data_format"]["inputs"]["image"]["spatial_shape"] == ["32*n", "32*n"]
    assert metadata["network_data_format"]["outputs"]["pred"]["num_channels"] == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"pair": "sem_resnet"}, "there is no pair 'sem_resnet'; did you mean"),
        ({"pair": "sem_unet", "epoch": 3}, "unknown setting 'epoch'; did you mean epochs?"),
        ({"pair": "sem_unet", "name": "../x"}, "letters, digits and underscores"),
        ({"epochs": 3}, "need --pair"),
    ],
)
def test_what_the_maker_refuses(arguments, message, tmp_path):
    with pytest.raises(ValueError, match=re.escape(message)):
        main(output=str(tmp_path), **arguments)
    assert list(tmp_path.iterdir()) == []


def test_a_changed_file_is_found(tmp_path):
    write(tmp_path / "sem_unet", make_bundle("sem_unet"))
    (tmp_path / "sem_unet" / "configs" / "train.json").write_text("{}", encoding="utf-8")
    (tmp_path / "sem_unet" / "configs" / "stray.json").write_text("{}", encoding="utf-8")
    found = differences(tmp_path / "sem_unet", make_bundle("sem_unet"))
    assert found == ["configs/train.json", "configs/stray.json"]


def test_no_target_is_a_module():
    """Of a module and a function with one name, ``_target_`` is the function on Python 3.11 and the module on 3.12."""
    text = "".join(text for pair in KINDS for path, text in make_bundle(pair).items() if path.endswith(".json"))
    targets = set(re.findall(r'"_target_": "([\w.]+)"', text))
    assert len(targets) > 50
    modules = {target for target in targets if is_module(target)}
    assert modules == set()


def is_module(name: str) -> bool:
    """Whether a dotted name can be imported."""
    try:
        importlib.import_module(name)
    except ModuleNotFoundError:
        return False
    return True


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> Path:
    """A small bundle of its own."""
    folder = tmp_path_factory.mktemp("bundles") / "sem_unet"
    settings = {"image_size": [32, 32], "epochs": 3, "num_workers": 0, "batch_size": 16}
    write(folder, make_bundle("sem_unet", settings=settings))
    return folder


def run(
    small: Path, configs: list[str], *arguments: str, launcher: list[str] | None = None
) -> subprocess.CompletedProcess:
    """Run ``monai.bundle run`` as a user does, inside the bundle."""
    files = "[" + ",".join(f"'configs/{name}.json'" for name in configs) + "]"
    command = [*(launcher or [sys.executable]), "-m", "monai.bundle", "run", "--config_file", files, *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, cwd=small, env=environment, capture_output=True, text=True, timeout=300, check=False)


@pytest.fixture(scope="module")
def small_denoiser(tmp_path_factory) -> Path:
    """A small bundle that keeps an average of its weights."""
    folder = tmp_path_factory.mktemp("bundles") / "ddpm_cnn"
    settings = {"image_size": [16, 16], "epochs": 3, "num_workers": 0, "batch_size": 16}
    write(folder, make_bundle("ddpm_cnn", settings=settings))
    return folder


@pytest.mark.parametrize(
    ("bundle", "parts"),
    [pytest.param("small", ["network"], marks=pytest.mark.slow), ("small_denoiser", ["network", "ema"])],
)
def test_a_resumed_run_reaches_the_same_weights_as_an_uninterrupted_one(bundle, parts, tmp_path, request):
    small = request.getfixturevalue(bundle)

    def train(name: str, *more: str) -> subprocess.CompletedProcess:
        return run(
            small, ["train"], "--ckpt_dir", str(tmp_path / name), "--output_dir", str(tmp_path / "out" / name), *more
        )

    assert train("whole").returncode == 0
    # killed in the middle of epoch 3, as by a signal: the process ends at once
    exits = "lambda engine: os._exit(9) if engine.state.iteration == 8 else None"
    handler = f"$@train#trainer.add_event_handler(Events.ITERATION_STARTED, {exits})"
    imports = [
        *json.loads((small / "configs" / "train.json").read_text(encoding="utf-8"))["imports"],
        "$import os",
        "$from ignite.engine import Events",
    ]
    stop = {"imports": imports, "run": [handler, "$@train#trainer.run()"]}
    (small / "configs" / "stop.json").write_text(json.dumps(stop), encoding="utf-8")
    killed = run(small, ["train", "stop"], "--ckpt_dir", str(tmp_path / "killed"), "--output_dir", str(tmp_path / "o2"))
    (small / "configs" / "stop.json").unlink()
    assert killed.returncode == 9
    resumed = train("killed", "--resume", "True")
    assert resumed.returncode == 0, resumed.stderr
    whole, again = (torch.load(tmp_path / name / "last.pt", weights_only=True) for name in ("whole", "killed"))
    for part in parts:
        assert all(torch.equal(whole[part][key], again[part][key]) for key in whole[part])
    if "ema" in parts:
        assert any(not torch.equal(whole["ema"][key], whole["network"][key]) for key in whole["ema"])


@pytest.mark.slow
@pytest.mark.parametrize("bundle", ["small", "small_denoiser"])
def test_two_processes_train_together(bundle, tmp_path, request):
    small = request.getfixturevalue(bundle)
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2", "--standalone"]
    folders = ["--ckpt_dir", str(tmp_path / "m"), "--output_dir", str(tmp_path / "o")]
    done = run(small, ["train", "multi_gpu_train"], *folders, "--device", "cpu", launcher=launcher)
    assert done.returncode == 0, done.stderr[-2000:]
    state = torch.load(tmp_path / "m" / "model.pt", weights_only=True)
    assert not any(key.startswith("module.") for key in state)
    assert done.stdout.count("epoch 1/3") == 1


@pytest.mark.slow
def test_a_dicom_series_comes_back_as_nifti_with_its_affine(small, data_dir, tmp_path):
    folders = ["--ckpt_dir", str(tmp_path / "m"), "--output_dir", str(tmp_path / "o")]
    assert run(small, ["train"], "--epochs", "1", *folders).returncode == 0
    series = data_dir / "ct_dicom" / "series"
    done = run(small, ["inference"], "--dataset_dir", str(series), "--image_size", "[256,256]", *folders)
    assert done.returncode == 0, done.stderr[-2000:]
    (file,) = (tmp_path / "o").glob("*.nii.gz")
    assert file.name == "series_seg.nii.gz"
    assert list((tmp_path / "o").glob("*overlay*.png"))
    expected = LoadImage(reader="ITKReader", image_only=True)(series)
    written = nibabel.load(file)
    assert written.shape == expected.shape
    np.testing.assert_allclose(written.affine, expected.affine, atol=1e-3)


def test_a_bundle_of_ones_own_takes_any_setting_of_its_components():
    files = make_bundle("sem_unet", settings={"network_def#backbone#final_channels": [32]})
    assert json.loads(files["configs/train.json"])["network_def"]["backbone"]["final_channels"] == [32]


@pytest.mark.parametrize(
    ("setting", "similar"),
    [
        ("network_def#backbone#finalchannels", "did you mean network_def#backbone#final_channels?"),
        ("network_def#backbone#family#nrom", "did you mean network_def#backbone#family#norm?"),
        ("augmentation#flop", "did you mean augmentation#flip?"),
        ("network_def#backbon#channels", "did you mean network_def#backbone?"),
        ("network#backbone#channels", "did you mean network_def?"),
        ("optimizer#lerning_rate", "did you mean optimizer#lr?"),
        ("epoch", "did you mean epochs?"),
    ],
)
def test_a_bundle_of_ones_own_names_the_setting_most_like_a_wrong_one(setting, similar):
    with pytest.raises(ValueError, match=re.escape(f"unknown setting {setting!r}; {similar}")):
        make_bundle("sem_unet", settings={setting: [32]})

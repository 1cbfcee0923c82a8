"""The bundles with weights: what they say of themselves is what was measured, and their weights do it."""

from __future__ import annotations

import csv
import json
import zipfile
from itertools import pairwise
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from monai.bundle import ckpt_export, create_workflow
from monai.data import MetaTensor

from flemme_monai.cli import main
from flemme_monai.commands.bundle_files import WEIGHTS, read_config, weights_files
from flemme_monai.commands.bundle_runs import read_stack
from flemme_monai.commands.check import check_bundle
from flemme_monai.commands.onnx_checks import load_network
from flemme_monai.commands.places import BUNDLES
from flemme_monai.recipes import TRAINED as ROWS
from flemme_monai.recipes import TrainedBundle, differences, make_trained, trained_bundles
from flemme_monai.recipes.trained import DATASETS
from flemme_monai.registry import ARCHITECTURES
from flemme_monai.utils.onnx import export_onnx

TRAINED = {bundle.name: bundle for bundle in trained_bundles()}
MEGABYTES = 1e6
MOST_EACH, MOST_TOGETHER = 6 * MEGABYTES, 60 * MEGABYTES
SEGMENTING = [name for name, bundle in TRAINED.items() if "sem" in bundle.pair]
MEASURED = ["nuclei_hsem_unet", "mednist_clm_cnn", "brain_mr_recon_hae_unet", "mednist_ddpm_unet"]  # one a task


def weights(name: str) -> list[Path]:
    return [BUNDLES / name / file for file in weights_files(BUNDLES / name)]


def slow_but(fast: str, names: list[str]) -> list:
    return [pytest.param(name, marks=[] if name == fast else pytest.mark.slow) for name in names]


@pytest.mark.parametrize("bundle", TRAINED.values(), ids=TRAINED)
def test_a_bundle_is_what_the_maker_writes(bundle: TrainedBundle):
    assert differences(BUNDLES / bundle.name, make_trained(bundle)) == []


def test_every_row_of_the_table_has_its_weights():
    assert list(TRAINED) == list(ROWS)


def test_weights_are_small():
    sizes = {name: sum(path.stat().st_size for path in weights(name)) for name in TRAINED}
    files = [path for name in TRAINED for path in weights(name)]
    assert {path: path.stat().st_size for path in files if path.stat().st_size > MOST_EACH} == {}
    assert sum(sizes.values()) < MOST_TOGETHER


@pytest.mark.parametrize("name", TRAINED)
def test_weights_are_tensors_in_single_precision(name):
    for path in weights(name):
        found = torch.load(path, map_location="cpu", weights_only=True).values()
        assert {t.dtype for t in found if t.is_floating_point()} == {torch.float32}
        assert all(t.isfinite().all() for t in found)


@pytest.mark.parametrize("bundle", TRAINED.values(), ids=TRAINED)
def test_a_bundle_says_whose_data_it_learned_from_and_what_it_reaches(bundle: TrainedBundle):
    data, metadata = DATASETS[bundle.dataset], read_config(BUNDLES / bundle.name, "metadata")
    page = (BUNDLES / bundle.name / "docs" / "README.md").read_text(encoding="utf-8")
    terms = (BUNDLES / bundle.name / "docs" / "data_license.txt").read_text(encoding="utf-8")
    assert data.license in terms
    assert data.attribution in terms
    assert data.attribution in metadata["data_source"]
    assert list(metadata["eval_metrics"]) == list(bundle.metrics)
    assert all(f"| {name} | {value}" in page for name, value in metadata["eval_metrics"].items())
    pictures = ("examples.png", "curves.png")
    assert all(f"]({picture})" in page and (BUNDLES / bundle.name / "docs" / picture).is_file() for picture in pictures)


@pytest.mark.parametrize("bundle", TRAINED.values(), ids=TRAINED)
def test_the_network_of_the_record_is_the_bundle_s(bundle: TrainedBundle):
    """So that a client that reads the JSON alone builds the network of the weights."""
    parser = read_stack(BUNDLES / bundle.name, ("inference",))
    parser["trained"] = {}  # what network.json says
    network = parser.get_parsed_content("network_def")
    network.load_state_dict(torch.load(BUNDLES / bundle.name / WEIGHTS, map_location="cpu", weights_only=True))
    split = json.loads((BUNDLES / bundle.name / "models" / "split.json").read_text(encoding="utf-8"))
    assert split["train"]
    if bundle.settings.get("split_by") == "slab":  # one volume, of which each part has slices of its own
        parts = [split["slabs"][part][case] for part in ("train", "val", "test") for case in split[part]]
        assert all(end <= start for (_, end), (start, _) in pairwise(parts))
    else:
        assert not set(split["train"]) & set(split["test"])


@pytest.mark.parametrize("name", slow_but("mednist_clm_cnn", list(TRAINED)))
def test_a_bundle_passes_every_check_with_its_own_weights(name):
    results = check_bundle(BUNDLES / name, onnx=True)
    assert [str(result) for result in results if result.status != "ok"] == []
    assert next(result for result in results if result.check == "structure").message == ""


@pytest.mark.parametrize("name", slow_but("nuclei_hsem_unet", SEGMENTING))
def test_weights_script_and_graph_give_the_same_mask(name, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    folder = BUNDLES / name
    network = load_network(folder)
    files = {key: str(folder / file) for key, file in (("ckpt_file", WEIGHTS), ("meta_file", "configs/metadata.json"))}
    config = str(folder / "configs" / "inference.json")
    script = tmp_path / "model.ts"
    ckpt_export("network_def", filepath=str(script), config_file=config, bundle_root=str(folder), **files)
    scripted = torch.jit.load(script).eval()
    export_onnx(network, tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"))

    def graph(image: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(session.run(None, {session.get_inputs()[0].name: image.numpy()})[0])

    divisor = network.backbone.size_divisor
    for batch, sizes in ((1, (4, 4, 3)), (3, (5, 3, 2))):
        torch.manual_seed(batch)
        image = torch.randn(batch, 1, *(d * n for d, n in zip(divisor, sizes)))
        with torch.no_grad():
            expected = network(image)
            for other in (scripted(image), graph(image)):
                torch.testing.assert_close(other, expected, rtol=1e-3, atol=1e-3)
                clear = expected.topk(2, 1).values.diff(dim=1).abs()[:, 0] > 1e-2
                assert torch.equal(other.argmax(1)[clear], expected.argmax(1)[clear])


def evaluated(name: str, data_dir: Path, output: Path) -> dict[str, float]:
    """The metrics of a bundle's test cases, by its evaluation."""
    bundle = TRAINED[name]
    names = ["train_diffusion" if "ldm" in bundle.pair else "train", "evaluate"]
    parser = read_stack(BUNDLES / name, names)
    parser.update({"dataset_dir": str(data_dir / bundle.dataset), "output_dir": str(output), "num_workers": 0})
    parser.update(bundle.evaluation_beside(BUNDLES))
    for step in ("initialize", "run"):
        parser.get_parsed_content(step)
    with (output / "summary.csv").open(encoding="utf-8", newline="") as file:
        return {row["metric"]: float(row.get("mean") or row.get("value") or "nan") for row in csv.DictReader(file)}


@pytest.mark.parametrize("kind", ["file", "MetaTensor"])
def test_the_mask_of_a_volume_has_its_geometry(kind, tmp_path):
    """A volume in memory or of a file, turned and mirrored against the world; the mask lies on its own grid."""
    bundle = BUNDLES / "hippocampus_hsem_unet"
    values = np.random.default_rng(0).normal(100, 20, (36, 34, 50)).astype(np.float32)
    affine = np.array([[0, 0, -1, 40], [-1, 0, 0, 20], [0, 1, 0, -7], [0, 0, 0, 1]], np.float64)
    nibabel.save(nibabel.Nifti1Image(values, affine), tmp_path / "head.nii.gz")
    image = str(tmp_path / "head.nii.gz") if kind == "file" else MetaTensor(values[None], affine=affine)
    workflow = create_workflow(
        config_file=str(bundle / "configs" / "inference.json"),
        workflow_type="inference",
        bundle_root=str(bundle),
        datalist=[{"image": image}],
        output_dir=str(tmp_path / "out"),
        num_workers=0,
    )
    workflow.run()
    mask = workflow.evaluator.state.output[0]["pred"]
    assert mask.shape == (1, *values.shape)
    np.testing.assert_allclose(mask.affine, affine)
    (saved,) = (nibabel.load(path) for path in (tmp_path / "out").rglob("*_seg.nii.gz"))
    np.testing.assert_allclose(saved.affine, affine)
    assert np.array_equal(np.asarray(saved.dataobj).squeeze(), mask[0].numpy())
    assert set(np.unique(mask.numpy())) <= {0, 1, 2}


@pytest.mark.parametrize("name", slow_but("mednist_clm_cnn", MEASURED))
def test_the_metrics_of_a_bundle_are_measured_again(name, data_dir, tmp_path):
    found = evaluated(name, data_dir, tmp_path)
    stated = read_config(BUNDLES / name, "metadata")["eval_metrics"]
    assert {metric: found[metric] for metric in stated} == pytest.approx(stated, rel=0.02, abs=2e-3)


def test_the_measured_are_one_of_each_task():
    tasks = {name: ARCHITECTURES[bundle.pair.partition("_")[0]].task for name, bundle in TRAINED.items()}
    assert sorted(tasks[name] for name in MEASURED) == sorted(set(tasks.values()))


def test_the_list_names_the_bundles_with_weights(capsys):
    main(["list", "--trained"])
    text = capsys.readouterr().out
    assert all(name in text for name in TRAINED)
    assert "not here" not in text


def test_a_packed_bundle_holds_its_weights_and_the_license_of_their_data(tmp_path):
    with pytest.raises(SystemExit) as ended:
        main(["package", "nuclei_hsem_unet", "--output_dir", str(tmp_path)])
    assert ended.value.code == 0
    (packed,) = tmp_path.glob("*.zip")
    names = {Path(name).relative_to("nuclei_hsem_unet").as_posix() for name in zipfile.ZipFile(packed).namelist()}
    assert {"models/model.pt", "models/network.json", "docs/data_license.txt", "docs/examples.png"} <= names

"""An image gets the same mask on the same grid however a client hands it to a bundle."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import torch
from image_files import write_nifti
from monai.bundle import ConfigParser
from monai.data import MetaTensor
from monai.transforms import Compose, EnsureChannelFirst, LoadImage, LoadImaged, MapTransform, Resize

from flemme_monai.recipes import make_bundle, write
from flemme_monai.registry import pairs

SIZE = (12, 10, 7)
AFFINE = np.array([[-1.8, 0.3, 0.1, 40.0], [0.2, -1.1, 0.4, 50.0], [0.3, 0.5, 2.4, -60.0], [0, 0, 0, 1]])


class Threshold(torch.nn.Module):
    """Two logits a voxel; those that are bright and lie ahead along the network's axes are class 1."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        places = torch.linspace(-1, 1, x.shape[2], device=x.device).reshape(-1, *[1] * (x.ndim - 3))
        return torch.cat([torch.zeros_like(x), x + places], dim=1)


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    """An oblique volume whose axes point to the left, the back and the head."""
    values = np.random.default_rng(0).normal(100, 20, SIZE).astype(np.float32)
    assert nibabel.aff2axcodes(AFFINE) == ("L", "P", "S")
    return write_nifti(tmp_path / "volume.nii.gz", values, AFFINE)


def inference_of(pair: str, folder: Path, **settings: Any) -> ConfigParser:
    """The inference of a pair."""
    write(folder / pair, make_bundle(pair, settings=settings))
    parser = ConfigParser()
    parser.read_config(str(folder / pair / "configs" / "inference.json"))
    parser["bundle_root"] = str(folder / pair)
    return parser


@pytest.fixture(params=[2, 3])
def config(request: pytest.FixtureRequest, tmp_path: Path) -> ConfigParser:
    """The inference of a segmentation, slice by slice and in 3D, in one window."""
    dims = request.param
    return inference_of("sem_unet", tmp_path, spatial_dims=dims, num_classes=2, image_size=list(SIZE[:dims]))


def expected(volume: Path) -> tuple[np.ndarray, np.ndarray]:
    """The mask (*S) on the file's own grid, and the file's affine, by nibabel alone."""
    file = nibabel.load(volume)
    turned = nibabel.as_closest_canonical(file)
    values = turned.get_fdata()
    values = (values - values.mean()) / values.std()
    mask = (values + np.linspace(-1, 1, values.shape[0])[:, None, None] > 0).astype(np.uint8)
    back = nibabel.orientations.ornt_transform(
        nibabel.io_orientation(turned.affine), nibabel.io_orientation(file.affine)
    )
    return nibabel.apply_orientation(mask, back), file.affine


def infer(config: ConfigParser, item: dict[str, Any]) -> MetaTensor:
    """The prediction of one item by preprocessing, inferer and postprocessing as they stand."""
    data = config.get_parsed_content("preprocessing")(item)
    data["pred"] = config.get_parsed_content("inferer")(data["image"][None], Threshold())[0]
    return config.get_parsed_content("postprocessing")(data)["pred"]


class LoadImageTensord(MapTransform):
    """MONAI Label's wrapper of each LoadImaged: it expects every key of it."""

    def __init__(self, keys: Any, load_image_d: LoadImaged) -> None:
        super().__init__(keys)
        self.load_image_d = load_image_d

    def __call__(self, data: dict[str, Any]) -> dict[str, Any]:
        assert all(isinstance(data[key], str) for key in self.keys)
        return self.load_image_d(data)


def label_infers(config: ConfigParser, path: Path) -> tuple[np.ndarray, np.ndarray]:
    """The mask and its affine as MONAI Label 0.8.5 makes them (tasks/infer/bundle.py and basic_infer.py)."""
    pre = list(config.get_parsed_content("preprocessing", instantiate=True).transforms)
    for transform in pre:
        if isinstance(transform, LoadImaged):
            transform._loader.image_only = False
    pre = [LoadImageTensord(t.keys, t) if isinstance(t, LoadImaged) else t for t in pre]
    data = {"image": str(path), "image_path": str(path), "model": "sem_unet", "device": "cpu"}
    for transform in pre:
        data = transform(data)
    outputs = config.get_parsed_content("inferer", instantiate=True)(data["image"][None], Threshold())
    data["pred"] = outputs[0]
    for transform in list(config.get_parsed_content("postprocessing", instantiate=True).transforms):
        data = transform(data)
    # Restored: back to the stored size, with the affine of the file
    result, meta = data["pred"], data["image"].meta
    if np.any(np.not_equal(result.shape[1:], meta["spatial_shape"])):
        result = Resize(spatial_size=meta["spatial_shape"], mode="nearest")(result)
    return np.asarray(result[0].array), np.asarray(meta["original_affine"])


def deploy_infers(config: ConfigParser, meta: dict[str, Any], values: np.ndarray) -> np.ndarray:
    """The mask as Deploy App SDK 4.0.0 makes it (operators/monai_bundle_inference_operator.py)."""

    def without_files(compose: Compose) -> Compose:
        names = ("LoadImage", "SaveImage")
        compose.transforms = tuple(t for t in compose.transforms if not any(name in type(t).__name__ for name in names))
        return compose

    pre, post = (without_files(config.get_parsed_content(name)) for name in ("preprocessing", "postprocessing"))
    assert isinstance(pre.transforms[0], MapTransform)
    assert isinstance(post.transforms[0], MapTransform)
    inputs = pre({"image": MetaTensor.ensure_torch_and_prune_meta(values, meta)})
    image = inputs.pop("image")
    outputs = config.get_parsed_content("inferer")(inputs=image[None], network=Threshold())
    pred = post({"pred": outputs[0], "image": image})["pred"]
    return np.squeeze(pred.cpu().numpy(), 0).astype(np.uint8)


def test_a_path_and_tensors_with_and_without_channels_give_one_mask(config: ConfigParser, volume: Path) -> None:
    mask, affine = expected(volume)
    bare = LoadImage()(volume)
    first = EnsureChannelFirst()(bare.clone())
    inputs = [str(volume), bare, first, first.clone(), [str(volume)]]
    del inputs[3].meta["original_channel_dim"], inputs[3].meta["original_affine"]
    for image in inputs:
        pred = infer(config, {"image": image})
        np.testing.assert_array_equal(pred[0].numpy(), mask)
        np.testing.assert_allclose(pred.affine, affine, atol=1e-6)


def test_what_is_given_stays_as_it_is(config: ConfigParser, volume: Path) -> None:
    bare = LoadImage()(volume)
    values, meta, affine = bare.clone(), set(bare.meta), bare.affine.clone()
    infer(config, {"image": bare})
    assert torch.equal(bare, values)
    assert set(bare.meta) == meta
    assert torch.equal(bare.affine, affine)
    assert bare.applied_operations == []


def test_monai_label_writes_the_mask_on_the_image(config: ConfigParser, volume: Path) -> None:
    mask, affine = expected(volume)
    written, place = label_infers(config, volume)
    np.testing.assert_array_equal(written, mask)
    np.testing.assert_allclose(place, affine, atol=1e-6)


@pytest.mark.parametrize("known", ["all", "no channel dim", "affine alone"])
def test_the_deploy_sdk_gets_the_mask_of_the_image(config: ConfigParser, volume: Path, known: str) -> None:
    mask, affine = expected(volume)
    values = np.asarray(nibabel.load(volume).dataobj)
    meta = {
        "affine": affine,
        "original_affine": affine.copy(),
        "spatial_shape": np.asarray(values.shape),
        "original_channel_dim": "no_channel",
        "space": "RAS",
        "row_pixel_spacing": 1.0,
    }
    if known != "all":
        del meta["original_channel_dim"]
    if known == "affine alone":
        if config.get_parsed_content("spatial_dims") == 2:
            pytest.skip("three axes without more may as well be a picture with channels")
        meta = {"affine": affine}
    np.testing.assert_array_equal(deploy_infers(config, meta, values), mask)


def test_a_bundle_writes_the_mask_on_the_grid_of_its_image(config: ConfigParser, volume: Path, tmp_path: Path) -> None:
    config["dataset_dir"] = str(volume.parent)
    config["output_dir"] = str(tmp_path / "out")
    config["network"] = Threshold()
    config["handlers"] = config["handlers"][1:]
    config["evaluator"]["device"] = "cpu"
    config.get_parsed_content("evaluator").run()
    mask, affine = expected(volume)
    (path,) = (tmp_path / "out").glob("*.nii.gz")
    written = nibabel.load(path)
    np.testing.assert_array_equal(written.get_fdata(), mask)
    np.testing.assert_allclose(written.affine, affine, atol=1e-5)
    assert len(list((tmp_path / "out").glob("*_overlay.png"))) == 1


@pytest.mark.parametrize("pair", ["ae_unet", "sdm_unet"])
def test_a_reconstruction_and_its_uncertainty_lie_on_the_grid_of_the_image(
    pair: str, volume: Path, tmp_path: Path
) -> None:
    config = inference_of(pair, tmp_path, spatial_dims=3)
    data = config.get_parsed_content("preprocessing")({"image": str(volume)})
    image = data["image"].as_tensor()
    data["pred"] = torch.cat([image, image / 10]) if pair == "sdm_unet" else image
    data = config.get_parsed_content("postprocessing")(data)
    values = nibabel.load(volume).get_fdata()
    scaled = (values - values.min()) / (values.max() - values.min())
    np.testing.assert_allclose(data["pred"][0].numpy(), scaled, atol=1e-6)
    np.testing.assert_allclose(data["pred"].affine, AFFINE, atol=1e-5)
    if pair == "sdm_unet":
        np.testing.assert_allclose(data["std"][0].numpy(), scaled / 10, atol=1e-6)
        np.testing.assert_allclose(data["std"].affine, AFFINE, atol=1e-5)


def transforms_of(config: Any) -> Iterator[Any]:
    """Every preprocessing and postprocessing of a config that is not a reference."""
    for key, value in config.items() if isinstance(config, dict) else ():
        if key.endswith(("preprocessing", "postprocessing")) and not isinstance(value, str):
            yield from [] if value is None else [value]  # None: an overlay takes one away
        else:
            yield from transforms_of(value)


@pytest.mark.parametrize("pair", pairs(shipped=True))
def test_preprocessing_and_postprocessing_are_composed(pair: str) -> None:
    configs = [json.loads(text) for path, text in make_bundle(pair).items() if path.endswith(".json")]
    found = [value for config in configs for value in transforms_of(config)]
    assert len(found) >= 6
    assert all(value["_target_"] == "monai.transforms.Compose" for value in found)
    assert all(isinstance(value["transforms"], list) for value in found)

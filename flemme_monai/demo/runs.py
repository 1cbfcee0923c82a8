"""From a case or a seed to what the page shows and measures, for each kind of bundle."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import perf_counter
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile

import numpy as np
import torch
from torch.utils.data import default_collate

from ..data.files import safe_name
from ..handlers import SaveClassMasks, SavePredictions
from ..io import turned_like
from ..transforms import RandScreenPhotod, UndersampleKspaced
from ..transforms.case import cut_slab
from ..visualize import ERROR_GAIN, captioned_rows, denoising_frames, is_volume, sample_tile
from .limits import Deadline, Limits
from .measures import Table, class_dice, class_masks, class_minutes, class_table, image_scores, psnr
from .served import Case, OnProgress, ServedBundle
from .views import Panel, Scene, levels_of

MOST_SCORES = 100_000_000  # of all classes and voxels, beyond which labels alone are kept
SAMPLE_COLUMNS = 4


@dataclass(frozen=True)
class Outcome:
    """What came of a run.

    Args:
        seconds: that the network took.
        scene: panels of one grid.
        measures: numbers by name.
        table: a row per class, under its header.
        probabilities: of classes.
        samples: a picture (H, W, 3) of generated images.
        steps: pictures of the denoising, the first first.
        download: a file of the prediction with the geometry of the input.
    """

    seconds: float
    scene: Scene | None = None
    measures: Mapping[str, str] = field(default_factory=dict)
    table: Table | None = None
    probabilities: Mapping[str, float] | None = None
    samples: np.ndarray | None = None
    steps: list[np.ndarray] = field(default_factory=list)
    download: Path | None = None


@dataclass(frozen=True)
class Sampling:
    """What a generator is asked for.

    Args:
        label: the class, None for all in turn.
        count: of samples.
        seed: of their noise.
        guidance: weight of classifier-free guidance, 1 for none.
        steps: of denoising.
    """

    label: int | None = None
    count: int = 4
    seed: int = 0
    guidance: float = 1.0
    steps: int = 25


def preview(bundle: ServedBundle, case: Case) -> Scene:
    """The image of a case and, where there is one, the target.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If a file is unreadable or does not fit the network.
    """
    return _case_scene(bundle, bundle.load(case))


def run_case(
    bundle: ServedBundle,
    case: Case,
    index: int | None,
    folder: Path,
    limits: Limits,
    on_progress: OnProgress,
    photo: float = 0.0,
) -> Outcome:
    """Predict a case.

    Args:
        bundle: of any kind but generation.
        case: its files.
        index: the axial slice of a volume that a 2D network sees; None for all.
        folder: for the file of the prediction.
        limits: of the time.
        on_progress: takes the share that is done, from 0 to 1.
        photo: strength of a photograph of the image on a screen, which the network gets in its place; 0 for none.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If the case does not fit the network or cannot be photographed, or the time is over.
    """
    if photo > 0:
        case = photographed(bundle.load(case), photo)
    cut = None if index is None or bundle.spatial_dims == 3 else index
    shown, item = (_one_slice(read(case), cut) for read in (bundle.load, bundle.preprocess))
    return _RUNS[bundle.kind](bundle, item, shown, folder, Deadline(limits.seconds), on_progress)


def photographed(item: Mapping[str, Any], strength: float) -> dict[str, Any]:
    """A 2D item as a phone sees it on a screen, with its label as the camera sees it; always the same photograph.

    Raises:
        ValueError: If the image is a volume.
    """
    if item["image"].ndim != 3:
        raise ValueError("a volume cannot be photographed; expected a picture: set the screen photo to 0")
    modes = {key: mode for key, mode in (("image", "bilinear"), ("label", "nearest")) if key in item}
    photo = RandScreenPhotod(list(modes), list(modes.values()), strength=strength)
    photo.set_random_state(0)
    taken = photo({key: item[key] for key in modes})
    return {**item, **{key: taken[key] for key in modes}}


def _one_slice(item: Mapping[str, Any], index: int | None) -> dict[str, Any]:
    """An item with an axial slice (C, X, Y, 1) of its volumes; None leaves them whole.

    A volume is cut after its intensities were scaled, so that a slice looks as among all others.
    """
    volumes = {key: item[key] for key in ("image", "label") if key in item and item[key].ndim == 4}
    if index is None:
        return dict(item)
    return {**item, **{key: cut_slab(volume, [index, index + 1], key) for key, volume in volumes.items()}}


def run_generator(bundle: ServedBundle, sampling: Sampling, limits: Limits, on_progress: OnProgress) -> Outcome:
    """Samples of a generator, and how they came out of noise.

    Raises:
        ValueError: If more is asked for than the limits allow, or than the bundle can.
    """
    for name, value, most in (("samples", sampling.count, limits.samples), ("steps", sampling.steps, limits.steps)):
        if not 1 <= value <= most:
            raise ValueError(f"{name} is {value}; expected 1 to {most}: choose a number between")
    settings: dict[str, Any] = {
        "num_samples": sampling.count,
        "seed": sampling.seed,
        "num_inference_steps": sampling.steps,
        "guidance_scale": sampling.guidance,
    }
    if bundle.num_classes:
        settings["class_label"] = sampling.label
    inferer, parser = bundle.inferer(**{name: v for name, v in settings.items() if name in bundle.config})
    dataset = parser.get_parsed_content("dataset")
    batch = default_collate([dataset[i] for i in range(sampling.count)])
    start = perf_counter()
    output = bundle.predict(inferer, batch, Deadline(limits.seconds), on_progress)
    seconds = perf_counter() - start
    tiles = [sample_tile(bundle.postprocess({"pred": sample})["pred"]) for sample in output]
    steps = denoising_frames(inferer.steps)[0] if inferer.steps else []
    names = [bundle.class_names[label] for label in batch["class_label"].tolist()] if bundle.num_classes else []
    return Outcome(
        seconds,
        measures={"samples": str(len(tiles)), "classes": ", ".join(dict.fromkeys(names))} if names else {},
        samples=_grid(tiles),
        steps=[frame if frame.ndim == 3 else np.repeat(frame[..., None], 3, 2) for frame in steps],
    )


def _grid(tiles: list[np.ndarray]) -> np.ndarray:
    columns = min(len(tiles), SAMPLE_COLUMNS)
    rows = [("", tiles[i : i + columns]) for i in range(0, len(tiles), columns)]
    return captioned_rows(rows)


def _predict(
    bundle: ServedBundle, item: dict[str, Any], deadline: Deadline, on_progress: OnProgress, **settings: Any
) -> tuple[torch.Tensor, float]:
    """The output (C_out, *S) for one item, and how many seconds it took."""
    inferer, _ = bundle.inferer(**settings)
    batch = {"image": item["image"][None]}
    for key in {"class_label", "slice"} & item.keys():
        batch[key] = torch.as_tensor(item[key])[None]
    start = perf_counter()
    output = bundle.predict(inferer, batch, deadline, on_progress)
    return output[0], perf_counter() - start


def _segment(
    bundle: ServedBundle, item: Case, shown: Case, folder: Path, deadline: Deadline, on_progress: OnProgress
) -> Outcome:
    image, label = item["image"], item.get("label")
    all_scores = bundle.multi_label or image[0].numel() * len(bundle.class_names) <= MOST_SCORES
    output, seconds = _predict(bundle, item, deadline, on_progress, **{"inferer#argmax": not all_scores})
    pred = bundle.postprocess({"image": image, "pred": output})["pred"]
    scene = _case_scene(bundle, shown)
    found = class_masks(turned_like(pred, shown["image"]), bundle.foreground)
    panels = [scene.panels[0], scene.panels[0].with_masks("prediction", _flat(found, scene)), *scene.panels[1:]]
    truth = class_masks(shown["label"], bundle.foreground) if "label" in shown else None
    dice = None if truth is None else class_dice(found, truth)
    minutes = None if truth is None else class_minutes(found, truth, scene.names, *bundle.minutes)
    measures = {}
    if dice is not None:
        measures["Dice"] = f"{np.nanmean(list(dice.values())):.4f}"
    if minutes is not None:
        measures["time saved"] = f"{np.nansum(list(minutes.values())):+g} min"
    if all_scores and label is not None:
        measures["loss"] = f"{float(bundle.loss(output[None], label[None])):.4f}"
    return Outcome(
        seconds,
        scene=replace(scene, panels=panels),
        measures=measures,
        table=class_table(scene, found, truth, dice, minutes),
        download=_save_masks(bundle, folder, shown["image"], pred, item["case"]),
    )


def _save_masks(bundle: ServedBundle, folder: Path, image: torch.Tensor, pred: torch.Tensor, case: str) -> Path:
    """Write a label map, or an archive with a mask of each class where these may overlap."""
    if not bundle.multi_label:
        return SavePredictions(folder, "seg", "segmentation", overlay=False).save(image, pred, case=case)
    paths = SaveClassMasks(folder, list(bundle.foreground.values())).save(image, pred, case=case)
    archive = folder / f"{safe_name(case)}_masks.zip"
    with ZipFile(archive, "w", ZIP_DEFLATED) as file:
        for path in paths:
            file.write(path, path.relative_to(folder))
    return archive


def _reconstruct(
    bundle: ServedBundle, item: Case, shown: Case, folder: Path, deadline: Deadline, on_progress: OnProgress
) -> Outcome:
    target = item["image"]
    item = degraded(bundle, item)
    output, seconds = _predict(bundle, item, deadline, on_progress)
    pred = bundle.postprocess({"image": target, "pred": output})["pred"]  # the target knows how it was turned
    on_image = turned_like(pred, target)
    scene = _case_scene(bundle, {"image": target})
    arrays = {"input": item["image"], "output": on_image, "target": target}
    if item["image"] is target:
        del arrays["target"]
    levels = scene.panels[0].levels
    panels = [Panel(name, _flat_array(array, scene), levels) for name, array in arrays.items()]
    measures = {}
    if "target" in arrays:
        error = np.abs(panels[1].image - panels[2].image)
        panels.append(Panel(f"error x {ERROR_GAIN:g}", error, (0.0, (levels[1] - levels[0]) / ERROR_GAIN)))
        measures = image_scores(on_image, target) | {"PSNR of the input": psnr(item["image"], target)}
        measures["loss"] = f"{float(bundle.loss(on_image[None], target[None])):.4f}"
    saved = SavePredictions(folder, "recon", "reconstruction", overlay=False)
    return Outcome(
        seconds,
        scene=replace(scene, panels=panels),
        measures=measures,
        download=saved.save(target, pred, case=item["case"]),
    )


def degraded(bundle: ServedBundle, item: dict[str, Any]) -> dict[str, Any]:
    """An item whose image is what the bundle was trained to restore, as its evaluation makes it of a whole image."""
    trained = bundle.setting("trained", {})
    mask = bundle.setting("degradation", "none")
    if mask in ("none", "given"):  # an input that is given is degraded already
        return item
    known = {name: trained[name] for name in ("acceleration", "center_fraction") if name in trained}
    undersample = UndersampleKspaced("image", mask, seed=0, **known)
    return {**item, "image": undersample({"image": item["image"], "case": item["case"]})["image"]}


def _classify(
    bundle: ServedBundle, item: Case, shown: Case, folder: Path, deadline: Deadline, on_progress: OnProgress
) -> Outcome:
    if item["image"].ndim - 1 > bundle.spatial_dims:
        if item["image"].shape[-1] > 1:
            raise ValueError("a volume has no class of its own here; expected a slice: choose the one that is shown")
        item["image"] = item["image"][..., 0]
    output, seconds = _predict(bundle, item, deadline, on_progress)
    probabilities = bundle.postprocess({"image": item["image"], "pred": output})["pred"].tolist()
    measures = {}
    if "class_label" in item:
        measures["target"] = bundle.class_names[item["class_label"]]
        measures["loss"] = f"{-math.log(max(probabilities[item['class_label']], 1e-12)):.4f}"
    return Outcome(
        seconds,
        scene=_case_scene(bundle, shown),
        measures=measures,
        probabilities=dict(zip(bundle.class_names, probabilities, strict=True)),
    )


def _case_scene(bundle: ServedBundle, loaded: Mapping[str, Any]) -> Scene:
    """The image of a case, and its target where it is loaded with one."""
    image = loaded["image"]
    one_slice = image.ndim == 4 and image.shape[-1] == 1
    array = np.asarray(image[0], np.float32)
    array = array[..., 0] if one_slice else array
    scene = Scene(
        [Panel("image", array, levels_of(array))],
        tuple(np.linalg.norm(np.asarray(image.affine)[:3, :3], axis=0).tolist()),
        bundle.foreground,
        upright=one_slice or is_volume(image),
    )
    if "label" in loaded and bundle.foreground:
        masks = _flat(class_masks(loaded["label"], bundle.foreground), scene)
        scene = replace(scene, panels=[*scene.panels, scene.panels[0].with_masks("target", masks)])
    return scene


def _flat(masks: Mapping[int, np.ndarray], scene: Scene) -> dict[int, np.ndarray]:
    return {label: mask.reshape(scene.shape) for label, mask in masks.items()}


def _flat_array(image: torch.Tensor, scene: Scene) -> np.ndarray:
    return np.asarray(image[0], np.float32).reshape(scene.shape)


_RUNS: dict[str, Callable[[ServedBundle, Case, Case, Path, Deadline, OnProgress], Outcome]] = {
    "segmentation": _segment,
    "reconstruction": _reconstruct,
    "classification": _classify,
}

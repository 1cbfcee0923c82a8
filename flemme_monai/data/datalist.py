"""The lists of cases that bundles train, evaluate and infer on."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np

from ..utils import user_path
from ..utils.files import each_path
from ..utils.weights import beside
from .class_folders import find_classes, name_classes
from .class_masks import check_class_names
from .condition_table import add_vectors
from .dataset_labels import fit_labels
from .divide import PARTS, Split, divide
from .fastmri import fastmri_pairs
from .files import image_kind
from .folder_names import folder_names
from .groups import check_parts, group_names, propose_group_by
from .layouts import DataSet, find_cases
from .listing import LISTING
from .neighbours import own_channels, with_neighbours
from .phantoms import class_phantoms, one_channel_per_organ, phantoms
from .recorded_split import (
    cases_of_part,
    check_autoencoder_split,
    check_ensemble_split,
    check_pretrained_split,
    recorded_split,
)
from .several_folders import Folders, find_in
from .split_record import SPLIT_FILE, Part, Source, read_split
from .splits import by_fold, by_share, check_shares, for_validation, split_by_file, split_by_slab

Case = dict[str, Any]
TASKS = ("segmentation", "reconstruction", "classification", "generation", "pretraining")
_PHANTOM_CLASSES = 4
_logger = logging.getLogger(__name__)


def split_datalist(
    dataset_dir: Folders | None,
    task: str,
    spatial_dims: int,
    in_channels: int,
    out_channels: int | None,
    image_size: int | Sequence[int],
    seed: int = 0,
    fold: int | None = None,
    num_folds: int = 5,
    split_file: str | os.PathLike | None = None,
    split_by: str = "case",
    shuffle_split: bool = False,
    group_by: str | None = None,
    record: str | os.PathLike | Sequence[str] | None = None,
    resume: bool = False,
    autoencoder_record: str | os.PathLike | None = None,
    pretrained_weights: Path | None = None,
    multi_label: bool = False,
    neighbour_slices: int = 0,
    class_names: Sequence[str] | None = None,
    split: Sequence[float] | None = None,
    image_folders: str | Sequence[str] | None = None,
    label_folder: str | None = None,
    pairs: bool = False,
    condition_classes: int | None = None,
    condition_table: str | os.PathLike | None = None,
    condition_columns: str | Sequence[str] | None = None,
) -> Split:
    """The cases of a data set, or phantoms, for training, validation and test.

    The first of these that applies decides the split: ``split_file``, ``fold``, ``split_by`` "slab", the parts that
    dataset.json names, ``split_by`` "case". Cases that dataset.json names for test neither train nor validate, unless
    ``split_file`` says so. Shares and folds are those of each class, or sub-folder, see ``divide``.

    Args:
        dataset_dir: the data set's folder; several; or some for "train", "val" and "test", see ``find_in``; None or ""
            makes phantoms.
        task: "segmentation" (every case needs a label), "reconstruction" (labels are not used), "classification" (the
            folder holds a folder per class), "generation" (the same, or any images) or "pretraining" (of a
            segmentation: labels are kept where they are found and fit).
        spatial_dims: 2 or 3.
        in_channels: number of image channels.
        out_channels: number of classes, for segmentation background included; as ``in_channels`` for reconstruction;
            None generates without classes.
        image_size: size of phantoms in voxels, one number or one per axis.
        seed: of the phantoms and the shuffled split.
        fold: which fold tests, 0 to ``num_folds`` - 1; None for no cross-validation.
        num_folds: number of folds, at least 3.
        split_file: JSON file {"train": [case, ...], "val": [...], "test": [...]}.
        split_by: "case" (60/20/20 of the cases) or "slab" (60/20/20 of each volume along its axial axis; where
            dataset.json names test cases, these test and the others are divided 60/40).
        shuffle_split: shuffle the cases, which are sorted by name, before they are divided.
        group_by: what keeps cases of one patient together, see ``group_names``.
        record: the ``split.json`` of the training that weights are of, whose split is used where the settings above are
            at their defaults or the training's, see ``recorded_split``; of several networks one each, of which none may
            have been trained on the test cases.
        resume: the record is of a training that goes on.
        autoencoder_record: the ``split.json`` of an autoencoder, on whose training cases nothing is tested.
        pretrained_weights: file of the weights that the training begins with; nothing is tested on the training cases
            in the ``split.json`` beside it either.
        multi_label: for segmentation, ``out_channels`` is the number of classes without the background, and labels are
            a mask of each, which may overlap.
        neighbour_slices: slices on each side of a slice that are channels of its image too.
        class_names: the names that the classes of multi-label masks must have, in order; None: those that they have.
        split: the shares of training, validation and test in the place of 60/20/20.
        image_folders, label_folder: how the folders of images and labels are called, see ``folder_names``.
        pairs: for reconstruction, every case has its ``target`` in a folder beside that of the inputs.
        condition_classes: for segmentation, the number of classes of whole images, by their first sub-folders, of
            which a network is told; None: not used.
        condition_table, condition_columns: numbers of each case, of which a network is told, see ``add_vectors``.

    Returns:
        Items by "train", "val" and "test": ``image`` (a path, one path per channel, or a MetaTensor), ``case`` (unique
        name) and, as needed, ``label``, ``slab`` and ``colors``, as ``flemme_monai.transforms.LoadImageAndLabeld``
        takes them, or ``class_label`` (0 to ``out_channels`` - 1) and ``class_name``.

    Raises:
        FileNotFoundError: If the folder or a named file is missing.
        ValueError: If a setting is unknown, the layout is not recognised, the cases cannot be divided, or training
            cases would test.
    """
    _check_task(task, in_channels, out_channels, multi_label, pairs)
    _check_one_condition(task, out_channels, condition_classes, condition_columns)
    channels = own_channels(in_channels, neighbour_slices, spatial_dims)
    names = folder_names(image_folders, label_folder, pairs)
    if split_by not in ("case", "slab"):
        raise ValueError(f"split_by is {split_by!r}; expected 'case' or 'slab'")
    size = _size(image_size, spatial_dims)
    if not _is_given(dataset_dir):
        data_set = _phantoms(task, spatial_dims, in_channels, out_channels, size, seed, multi_label)
    elif _has_classes(out_channels, task):
        classes = out_channels
        data_set = find_in(dataset_dir, lambda folder: find_classes(folder, channels, classes))
        _check_dims(data_set, spatial_dims)
    else:
        needs = pairs or task == "segmentation"
        data_set = find_in(
            dataset_dir,
            lambda folder: (fastmri_pairs(user_path(folder), channels) if pairs else None)
            or find_cases(folder, channels, needs, multi_label, names),
        )
        _check_dims(data_set, spatial_dims)
        if pairs:
            _name_targets(data_set)
        if task == "pretraining":
            _fit_found_labels(data_set, out_channels)
        else:
            fit_labels(data_set, out_channels if task == "segmentation" else None)
    check_class_names(data_set.cases, class_names)
    if condition_classes:
        name_classes(data_set.cases, condition_classes)
    add_vectors(data_set.cases, condition_table, condition_columns)
    with_neighbours(data_set.cases, neighbour_slices)
    settings = {
        "seed": seed,
        "shuffle_split": shuffle_split,
        "split_by": split_by,
        "split_file": str(user_path(split_file)) if split_file is not None and split_file != "" else None,
        "fold": fold,
        "num_folds": num_folds,
        "group_by": group_by or None,
        **({} if split is None else {"split": list(check_shares(split))}),
    }
    # pretraining divides a folder as the training that follows, where one can follow
    labelled = task == "segmentation" or (task == "pretraining" and any("label" in c for c in data_set.training))
    unlabelled = [case for case in data_set.test if labelled and "label" not in case]
    if unlabelled:
        _logger.info("%d test cases have no label and are left out", len(unlabelled))
        data_set.test = [case for case in data_set.test if "label" in case]
    kind = "segmentation" if task == "pretraining" else task  # whose phantoms these are
    made_by = "" if _is_given(dataset_dir) else f"seed {seed}, {kind}, {out_channels}"
    source = Source(data_set.cases, settings, made_by)

    def make(settings: Mapping[str, Any]) -> Split:
        return _split(data_set, **settings)

    records = [found for path in each_path(record or ()) if (found := read_split(path)) is not None]
    parts = recorded_split(records[0], source, make, resume) if records else make(settings)
    for other in records[1:]:
        check_ensemble_split(other, parts, source)
    autoencoder = read_split(autoencoder_record) if autoencoder_record else None
    if autoencoder is not None:
        check_autoencoder_split(autoencoder, parts, source)
    pretrained = read_split(beside(pretrained_weights, SPLIT_FILE)) if pretrained_weights else None
    if pretrained is not None:
        check_pretrained_split(pretrained, parts, source)
        source = replace(source, pretrained=pretrained.all_trained)
    _logger.info("cases: %s", ", ".join(f"{len(cases)} {part}" for part, cases in parts.items()))
    named = sorted({(case["class_label"], case["class_name"]) for case in data_set.cases if "class_label" in case})
    if named:
        _logger.info("classes: %s", ", ".join(f"{label} {name}" for label, name in named))
    return {part: Part(parts[part], parts, source) for part in PARTS}


def inference_list(
    dataset_dir: Folders | None,
    task: str,
    spatial_dims: int,
    in_channels: int,
    out_channels: int | None,
    image_size: int | Sequence[int],
    seed: int = 0,
    multi_label: bool = False,
    neighbour_slices: int = 0,
    part: str | None = None,
    record: str | Sequence[str] = (),
    image_folders: str | Sequence[str] | None = None,
    label_folder: str | None = None,
    pairs: bool = False,
    condition_classes: int | None = None,
    condition_table: str | os.PathLike | None = None,
    condition_columns: str | Sequence[str] | None = None,
) -> list[Case]:
    """Every case of a data set, or the test phantoms; labels are not needed, and kept where they are found.

    Args:
        dataset_dir: the data set's folder; None or "" makes phantoms.
        task: "segmentation", "reconstruction", "classification" or "generation".
        spatial_dims: 2 or 3.
        in_channels: number of image channels.
        out_channels: number of classes, for segmentation background included; as ``in_channels`` for reconstruction;
            None generates without classes.
        image_size: size of phantoms in voxels, one number or one per axis.
        seed: of the phantoms.
        multi_label, neighbour_slices, image_folders, label_folder, pairs, condition_classes, condition_table,
            condition_columns: as of :func:`split_datalist`; a case needs no target.
        part: "train", "val" or "test" for the cases of that part of a training alone; None for all.
        record: the ``split.json`` of that training, or of several.

    Returns:
        Items with ``image``, ``case`` and, where they are known, ``label`` and ``colors``, or ``class_label`` and
        ``class_name`` where the folder holds a folder per class.

    Raises:
        FileNotFoundError: If the folder or a named file is missing.
        ValueError: If a setting is unknown, the layout is not recognised, or a case of the part is missing.
    """
    _check_task(task, in_channels, out_channels, multi_label, pairs)
    _check_one_condition(task, out_channels, condition_classes, condition_columns)
    channels = own_channels(in_channels, neighbour_slices, spatial_dims)
    names = folder_names(image_folders, label_folder, pairs)
    size = _size(image_size, spatial_dims)
    if part is not None and not _is_given(dataset_dir):
        raise ValueError(f"part is {part!r} and there is no dataset_dir; expected that of the training: name it")
    if not _is_given(dataset_dir):
        cases = _phantoms(task, spatial_dims, in_channels, out_channels, size, seed, multi_label).cases
        if condition_classes:
            name_classes(cases, condition_classes)
        add_vectors(cases, condition_table, condition_columns)
        with_neighbours(cases, neighbour_slices)
        return [_with_noise(case) for case in divide(cases, by_share())["test"]]
    if _has_classes(out_channels, task):
        try:
            classes = out_channels
            data_set = find_in(dataset_dir, lambda folder: find_classes(folder, channels, classes))
            _check_dims(data_set, spatial_dims)
            add_vectors(data_set.cases, condition_table, condition_columns)
            with_neighbours(data_set.cases, neighbour_slices)
            return data_set.cases
        except ValueError as error:
            _logger.info("the classes are left out: %s", error)
    data_set = find_in(dataset_dir, lambda folder: find_cases(folder, channels, False, multi_label, names))
    _check_dims(data_set, spatial_dims)
    if pairs:
        _name_targets(data_set)
    if condition_classes:
        name_classes(data_set.cases, condition_classes)
    add_vectors(data_set.cases, condition_table, condition_columns)
    _fit_found_labels(data_set, out_channels if task == "segmentation" else None)
    with_neighbours(data_set.cases, neighbour_slices)
    return data_set.cases if part is None else cases_of_part(data_set.cases, part, record)


def _fit_found_labels(data_set: DataSet, num_classes: int | None) -> None:
    """Keep the labels that are there, or say why they are left out."""
    try:
        fit_labels(data_set, num_classes)
    except ValueError as error:
        _logger.info("the labels are left out: %s", error)
        fit_labels(data_set, None)


def _name_targets(data_set: DataSet) -> None:
    """Call the labels of a reconstruction what they are."""
    for case in data_set.cases:
        if "label" in case:
            case["target"] = case.pop("label")


def _is_given(path: Folders | None) -> TypeGuard[Folders]:
    """Whether a path is set; the command line makes the number 0 of a folder that is called so."""
    return path is not None and path != ""


def _check_task(task: str, in_channels: int, out_channels: int | None, multi_label: bool, pairs: bool) -> None:
    if task not in TASKS:
        raise ValueError(f"task is {task!r}; expected {', '.join(map(repr, TASKS[:-1]))} or {TASKS[-1]!r}")
    if task == "reconstruction" and out_channels != in_channels and not pairs:
        raise ValueError(
            f"out_channels is {out_channels}; expected in_channels, {in_channels}, in reconstruction: set both to the "
            "channels of the images"
        )
    fewest = 1 if multi_label else 2
    if (task in ("classification", "segmentation", "pretraining") or _has_classes(out_channels, task)) and not (
        isinstance(out_channels, int) and out_channels >= fewest
    ):
        none = ", or none for no classes" if task == "generation" else ""
        raise ValueError(f"num_classes is {out_channels!r} for {task}; expected a number from {fewest}{none}")


def _check_one_condition(
    task: str, out_channels: int | None, condition_classes: int | None, condition_columns: str | Sequence[str] | None
) -> None:
    """Refuse numbers beside a class: a network has one context."""
    classes = condition_classes or (task == "generation" and out_channels)
    if condition_columns and classes:
        raise ValueError(
            f"condition_columns is {condition_columns!r} beside {classes} classes; expected one condition: leave "
            "condition_columns out, or the classes (their number as a column of the table tells of them too)"
        )


def _has_classes(out_channels: int | None, task: str) -> TypeGuard[int]:
    """Whether cases have a class each."""
    return task in ("classification", "generation") and out_channels is not None


def _size(image_size: int | Sequence[int], spatial_dims: int) -> tuple[int, ...]:
    if spatial_dims not in (2, 3):
        raise ValueError(f"spatial_dims is {spatial_dims}; expected 2 or 3")
    size = (image_size,) * spatial_dims if isinstance(image_size, int) else tuple(image_size)
    if len(size) != spatial_dims or not all(isinstance(length, int) and length > 0 for length in size):
        raise ValueError(
            f"image_size is {list(size)} while spatial_dims is {spatial_dims}; expected one positive number per axis"
        )
    return size


def _phantoms(
    task: str,
    spatial_dims: int,
    in_channels: int,
    out_channels: int | None,
    size: tuple[int, ...],
    seed: int,
    multi_label: bool,
) -> DataSet:
    separate_noise = task in ("reconstruction", "generation")  # whose images are what a network shall make
    if _has_classes(out_channels, task):
        cases = class_phantoms(spatial_dims, in_channels, out_channels, size, seed, separate_noise)
    elif task in ("segmentation", "pretraining"):
        assert out_channels is not None, "see _check_task"
        cases = phantoms(spatial_dims, in_channels, out_channels + multi_label, size, seed)
        if multi_label:
            cases = [{**case, "label": one_channel_per_organ(case["label"], out_channels)} for case in cases]
    else:
        cases = phantoms(spatial_dims, in_channels, _PHANTOM_CLASSES, size, seed, separate_noise)
        cases = [{key: value for key, value in case.items() if key != "label"} for case in cases]
    _logger.info(
        "no dataset_dir is given: %d phantoms of %s voxels are made instead", len(cases), "x".join(map(str, size))
    )
    return DataSet(Path(), cases, [], [])


def _with_noise(case: Case) -> Case:
    """A phantom with its noise in the image."""
    if "noise" not in case:
        return case
    return {**{key: value for key, value in case.items() if key != "noise"}, "image": case["image"] + case["noise"]}


def _check_dims(data_set: DataSet, spatial_dims: int) -> None:
    for case in data_set.cases:
        first = case["image"][0] if isinstance(case["image"], list) else case["image"]
        if spatial_dims == 3 and image_kind(first) == "picture":
            raise ValueError(
                f"{first}: is a 2D image; expected a volume, as spatial_dims is 3: set spatial_dims to 2 or give "
                "volumes"
            )


def _split(
    data_set: DataSet,
    seed: int,
    shuffle_split: bool,
    split_by: str,
    split_file: str | None,
    fold: int | None,
    num_folds: int,
    group_by: str | None,
    split: Sequence[float] | None = None,
) -> Split:
    group_by = group_by or data_set.group_by
    groups = group_names(data_set.cases, group_by) if group_by else None
    if groups is None:
        propose_group_by(data_set.cases)
    if split_file:
        parts = split_by_file(data_set.cases, split_file)
        check_parts(parts, groups, split_file)
        return parts
    test, listing = data_set.test, data_set.folder / LISTING
    source = str(listing if listing.is_file() else data_set.folder)
    if not data_set.training:
        raise ValueError(
            f"{source}: has {len(data_set.validation)} cases for validation, {len(test)} for test and none for "
            "training; name some for training"
        )
    cases = sorted(data_set.training, key=lambda case: case["case"])
    if shuffle_split:
        cases = [cases[i] for i in np.random.RandomState(seed).permutation(len(cases))]
    shares = check_shares(split)
    if fold is not None or split_by == "slab":
        every = cases + data_set.validation
        check_parts({"train": every, "val": [], "test": test}, groups, source)
        if fold is None:
            return split_by_slab(every, test, groups, shares)
        parts = divide(every, by_fold(fold, num_folds), groups)
        return {"train": parts["train"] + parts["val"], "val": parts["test"], "test": test} if test else parts
    if data_set.validation and cases:
        if not test:
            _logger.info("%s names no labelled test cases: the validation cases serve as test", Path(source).name)
        parts = {"train": cases, "val": data_set.validation, "test": test or list(data_set.validation)}
        check_parts(parts, groups, source)
        return parts
    check_parts({"train": cases, "val": [], "test": test}, groups, source)
    if test and len(cases) > 1:
        return {**divide(cases, for_validation(data_set.folder, shares), groups), "test": test}
    return divide(cases, by_share(data_set.folder, shares), groups)

"""Recognises how a data set lies on disk and lists its cases."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..utils import user_path
from .bids import BY_SUBJECT, bids_cases, is_bids
from .class_masks import match_class_masks
from .files import IMAGE_SUFFIXES, image_stem, image_suffix, is_junk, list_images
from .folder_names import FolderNames, modality_cases
from .gi_tract import BY_CASE, gi_tract_cases, is_gi_tract
from .groups import PART_FOLDERS, first_folder
from .listing import PARTS, listed_cases, read_listing
from .matching import (
    Case,
    by_stem,
    cases_of,
    composed,
    image_cases,
    instance_masks,
    is_mask_name,
    mask_files,
    match_labels,
    relative_stem,
)

TEST_FOLDERS = ("imagesTs",)
TEST_MASK_FOLDERS = ("labelsTs",)
_LOOKED_FOR = (
    "dataset.json (Medical Segmentation Decathlon, nnU-Net, Auto3DSeg), images/ (with masks/ or labels/ for "
    f"segmentation) or one such pair a case, images ({', '.join(IMAGE_SUFFIXES)}), folders of DICOM series"
)
_logger = logging.getLogger(__name__)


@dataclass
class DataSet:
    """The cases of a folder.

    Args:
        folder: the data set's folder.
        training: the cases: ``image`` (a path or one path per channel), ``case`` (unique) and, where known, ``label``.
        validation: cases that dataset.json names for validation.
        test: cases that dataset.json names for test; they may lack a label. Cases below train/ and val/ (or valid/,
            validation/) or test/ are named so too.
        group_by: what keeps the cases of one patient together, where the layout says so, see ``group_names``.
    """

    folder: Path
    training: list[Case]
    validation: list[Case]
    test: list[Case]
    group_by: str | None = field(default=None, kw_only=True)

    @property
    def cases(self) -> list[Case]:
        """All cases."""
        return self.training + self.validation + self.test


def find_cases(
    dataset_dir: str | os.PathLike,
    in_channels: int,
    labels: bool,
    multi_label: bool = False,
    names: FolderNames | None = None,
) -> DataSet:
    """Recognises the layout of a folder and lists its cases, sorted by name.

    Args:
        dataset_dir: the data set's folder.
        in_channels: number of image channels; files NAME_0000, NAME_0001, ... are one case when they are as many.
        labels: every case needs a label; without, labels are kept where they are found.
        multi_label: labels are a mask of each class, ``masks/<class>/`` or the run-length codes of train.csv.
        names: how the folders of images and labels are called; the usual names by default.

    Returns:
        The cases.

    Raises:
        FileNotFoundError: If the folder or a file named in dataset.json is missing.
        ValueError: If no layout is recognised or a file does not fit in it.
    """
    folder, names = data_folder(dataset_dir, _LOOKED_FOR), names or FolderNames()
    if is_gi_tract(folder):
        return _gi_tract(folder, labels, multi_label)
    if is_bids(folder) and not multi_label:
        return DataSet(folder, bids_cases(folder, in_channels, labels, *_of_bids(names)), [], [], group_by=BY_SUBJECT)
    listing = read_listing(folder)
    if listing is not None and any(key in listing for keys in PARTS.values() for key in keys):
        return DataSet(folder, *listed_cases(folder, listing, labels))
    images, masks = _image_folder(folder, names), _subfolder(folder, names.labels)
    if images is not None:
        if masks is None and labels:
            lacks = f"{images.name}/ has no {' or '.join(_slashed(names.labels))} beside it"
            raise ValueError(f"{folder}: {lacks}; found {contents(folder)}")
        test_images, test_masks = _subfolder(folder, TEST_FOLDERS), _subfolder(folder, TEST_MASK_FOLDERS)
        test = {} if test_images is None else _paired_cases(test_images, test_masks, in_channels, False, multi_label)
        named = _paired_cases(images, masks, in_channels, labels, multi_label, names)
        twice = named.keys() & test.keys()
        if twice:
            raise ValueError(
                f"{folder}: case {min(twice)} lies in {images.name}/ and {TEST_FOLDERS[0]}/; a case belongs to one part"
            )
        return by_part_folders(DataSet(folder, list(named.values()), [], list(test.values())))
    if multi_label and labels:
        raise ValueError(
            f"{folder}: is no data set of multi_label; expected images/ beside masks/<class>/, or train.csv beside "
            f"train/case*/case*_day*/scans/: found {contents(folder)}; set multi_label to false for label maps"
        )
    cases = _case_folders(folder, in_channels, labels and not multi_label, names)
    other = names.modalities or (names.images if names.images != FolderNames.images else ())
    if not cases and not (other and labels):
        cases = _loose_cases(folder, in_channels, labels)
        if other and cases:
            _logger.info("%s: has no %s; all its images are taken", folder, ", ".join(_slashed(other)))
    if not cases:
        looked_for = ", ".join(_slashed(other)) if other else _LOOKED_FOR
        raise ValueError(f"{folder}: no data set is recognised; looked for {looked_for}; found {contents(folder)}")
    return by_part_folders(DataSet(folder, cases, [], []))


def _gi_tract(folder: Path, labels: bool, multi_label: bool) -> DataSet:
    """The slices of Kaggle's GI tract challenge; their masks, which overlap, where they are multi-label."""
    if labels and not multi_label:
        raise ValueError(
            f"{folder}: is in the layout of Kaggle's GI tract challenge, whose organs overlap, while multi_label is "
            "false; expected true: set multi_label to true and num_classes to the number of organs"
        )
    cases = gi_tract_cases(folder, labels)
    if not multi_label:
        cases = [{key: value for key, value in case.items() if key != "label"} for case in cases]
    return DataSet(folder, cases, [], [], group_by=BY_CASE)


def part_folders(names: Iterable[str]) -> dict[str, str]:
    """The parts that folders stand for, by their names: some train/ beside val/ or test/; none for other folders."""
    folders = list(dict.fromkeys(names))
    parts = {name: PART_FOLDERS[name.lower()] for name in folders if name.lower() in PART_FOLDERS}
    named = set(parts.values())
    return parts if "training" in named and len(named) == len(parts) == len(folders) > 1 else {}


def by_part_folders(data_set: DataSet) -> DataSet:
    """The data set with the parts that the first sub-folders in its cases' names stand for, where all of them do."""
    if data_set.validation or data_set.test:
        return data_set
    parts = part_folders({first_folder(case["case"]) for case in data_set.training})
    if not parts:
        return data_set
    found: dict[str, list[Case]] = {part: [] for part in PARTS}
    for case in data_set.training:
        found[parts[first_folder(case["case"])]].append(case)
    _logger.info("%s: the folders %s are taken as parts of the split", data_set.folder, ", ".join(sorted(parts)))
    return DataSet(data_set.folder, *found.values())


def data_folder(dataset_dir: str | os.PathLike, looked_for: str) -> Path:
    """The folder of a data set, which exists and holds something.

    Args:
        dataset_dir: its path.
        looked_for: what it should hold, for messages.

    Returns:
        The path, with the user's home written out.

    Raises:
        FileNotFoundError: If there is no such folder.
        ValueError: If it is a file or empty.
    """
    folder = user_path(dataset_dir)
    if not folder.exists():
        raise FileNotFoundError(
            f"{folder}: no such folder; give the data set's folder as dataset_dir, or none for phantoms"
        )
    if not folder.is_dir():
        raise ValueError(f"{folder}: is a file; dataset_dir is the folder of a data set")
    if not any(not is_junk(name) for name in os.listdir(folder)):
        raise ValueError(f"{folder}: the folder is empty; looked for {looked_for}")
    return folder


def _subfolder(folder: Path, names: Sequence[str]) -> Path | None:
    wanted = {name.lower() for name in names}
    found = sorted(path for path in folder.iterdir() if path.name.lower() in wanted and path.is_dir())
    if len(found) > 1:
        raise ValueError(f"{folder}: has {' and '.join(path.name + '/' for path in found)}; keep one of them")
    return found[0] if found else None


def _of_bids(names: FolderNames) -> tuple[tuple[str, ...], str | None]:
    """The modalities and the pipeline that are named, of a BIDS data set."""
    usual = FolderNames()
    images = names.modalities or (names.images if names.images != usual.images else ())
    return images, None if names.labels == usual.labels else names.labels[0]


def _image_folder(folder: Path, names: FolderNames) -> Path | None:
    """The folder of images, or of the first modality."""
    if not names.modalities:
        return _subfolder(folder, names.images)
    found = [(folder / name).is_dir() for name in names.modalities]
    if any(found) and not all(found):
        raise ValueError(
            f"{folder}: has no {names.modalities[found.index(False)]}/, which image_folders names; found "
            f"{contents(folder)}"
        )
    return folder / names.modalities[0] if all(found) else None


def _slashed(names: Iterable[str]) -> list[str]:
    return [f"{name}/" for name in names if name not in ("imagesTr", "labelsTr")]


def _paired_cases(
    images: Path,
    masks: Path | None,
    in_channels: int,
    labels: bool,
    multi_label: bool = False,
    names: FolderNames | None = None,
) -> dict[str, Case]:
    """Cases by name of a folder of images and, where there is one, a folder of masks under the images' names."""
    paths = list_images(images)
    cases = image_cases(paths, images, in_channels)
    modalities = names.modalities if names is not None else ()
    if modalities:
        cases = modality_cases([images.parent / name for name in modalities], in_channels)
    if masks is not None:
        if not modalities:
            cases = cases_of(by_stem(paths, images, "image"), in_channels)
        if multi_label:
            match_class_masks(cases, masks, labels)
        else:
            match_labels(cases, list_images(masks), masks, labels)
    if not cases:
        raise ValueError(f"{images}: holds no image; looked for {_LOOKED_FOR}; found {contents(images)}")
    return cases


def _case_folders(folder: Path, in_channels: int, labels: bool, names: FolderNames) -> list[Case]:
    """Cases of a folder of folders, each with images/ and masks/: one picture and a mask an instance, or several.

    Raises:
        ValueError: If some folders are like that and others are not.
    """
    entries = sorted(path for path in folder.iterdir() if not is_junk(path.name))
    pairs = {path: (_image_folder(path, names), _subfolder(path, names.labels)) for path in entries if path.is_dir()}
    if not any(images and masks for images, masks in pairs.values()):
        return []
    cases: list[Case] = []
    for path, (images, masks) in pairs.items():
        if images is None and not list_images(path):
            continue
        if images is None or (masks is None and labels):
            raise ValueError(f"{path}: lacks images/ or masks/, which other folders in {folder} have; add or remove it")
        paths = [] if masks is None else list_images(masks)
        found = {} if names.modalities else image_cases(list_images(images), images, in_channels)
        if len(found) == 1 and path.name.lower() not in PART_FOLDERS:
            case = {**next(iter(found.values())), "case": composed(path.name)}
            if paths:
                case["label"] = instance_masks(paths)
            elif labels:
                raise ValueError(f"{masks}: holds no mask; add it, or remove {path}")
            cases.append(case)
            continue
        found = _paired_cases(images, masks, in_channels, labels, names=names)
        cases += [{**case, "case": f"{composed(path.name)}/{name}"} for name, case in found.items()]
    stray = next((path for path in entries if path not in pairs and image_suffix(path)), None)
    if stray:
        raise ValueError(f"{stray}: lies beside folders with images/ and masks/; move it into one")
    return cases


def _loose_cases(folder: Path, in_channels: int, labels: bool) -> list[Case]:
    """Cases of a folder of images, where NAME_mask (or _seg, _label) beside NAME is its mask; or of DICOM series."""
    paths = list_images(folder)
    series = [path for path in paths if path.is_dir()]
    if len(series) == 1 and len(paths) == 2:
        other = next(path for path in paths if path not in series)
        if is_mask_name(image_stem(other)):
            return [{"image": str(series[0]), "label": str(other), "case": relative_stem(series[0], folder)}]
    masks = mask_files(paths, folder)
    images = [path for path in paths if path not in masks]
    if series and len(series) < len(images):
        stray = next(path for path in images if path not in series)
        raise ValueError(f"{folder}: holds DICOM series and {stray.name}; keep images of one kind in a data set")
    if labels and images and not masks:
        raise ValueError(
            f"{folder}: has images but no masks; segmentation needs images/ with masks/ or labels/ (or dataset.json); "
            f"found {contents(folder)}"
        )
    cases = (
        cases_of(by_stem(images, folder, "image"), in_channels) if masks else image_cases(images, folder, in_channels)
    )
    if masks:
        match_labels(cases, masks, folder, labels)
    return list(cases.values())


def contents(folder: Path) -> str:
    """The content of a folder, in few words.

    Args:
        folder: an existing folder.

    Returns:
        Such as "images/, 3 files (.json)".
    """
    names = sorted(name for name in os.listdir(folder) if not is_junk(name))
    folders = [name + "/" for name in names if (folder / name).is_dir()]
    files = Counter(Path(name).suffix or "no suffix" for name in names if not (folder / name).is_dir())
    parts = folders[:8] + (["..."] if len(folders) > 8 else [])
    parts += [f"{count} file{'s' if count > 1 else ''} ({suffix})" for suffix, count in files.most_common(8)]
    return ", ".join(parts) or "nothing"

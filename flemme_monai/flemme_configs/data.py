"""A config's loaders: folders of images, and what is done to them."""

from __future__ import annotations

from typing import Any

from .entries import Entries

PAIRED = ("ImgSegDataset", "MultiModalityImgSegDataset", "ImgReconDataset", "MultiModalityImgReconDataset")
ALONE = ("ImgDataset", "MultiModalityImgDataset")
CLASSES = ("ImgClsDataset", "ImgClassDataset")
# transforms that are done anyway, or whose place another one has
DONE = ("ToTensor", "Normalize", "MinMaxNormalize", "ToOneHot", "ToBinaryMask", "CropToFixed", "RandomCrop")
PROBABILITIES = {
    "RandomHorizontalFlip": "augmentation#flip",
    "RandomVerticalFlip": "augmentation#flip",
    "RandomFlip": "augmentation#flip",
    "RandomRotation": "augmentation#rotate",
    "RandomRotate": "augmentation#rotate",
    "RandomRotate90": "augmentation#rotate",
    "ElasticDeform": "augmentation#elastic",
    "GaussianBlur": "augmentation#blur",
    "RandomContrast": "augmentation#contrast",
}
AUGMENTED = {
    "segmentation": ("flip", "rotate", "elastic", "blur", "contrast"),
    "reconstruction": ("flip", "rotate", "elastic"),
    "classification": ("flip", "rotate"),
    "generation": ("flip",),
}


def segments(config: dict[str, Any]) -> bool:
    """Whether a config's targets are label maps, by the data set of its training."""
    loader = config.get("loader")
    dataset = loader.get("dataset") if isinstance(loader, dict) else None
    return isinstance(dataset, dict) and str(dataset.get("name", "")).endswith("ImgSegDataset")


def read_loaders(top: Entries, task: str) -> None:
    """Take the loaders of training, validation and test.

    Args:
        top: the whole config.
        task: of the architecture.
    """
    parts = {"train": top.section("loader"), "val": top.section("val_loader"), "test": top.section("test_loader")}
    folders: dict[str, list[str]] = {}
    found = top.conversion.settings
    for part, loader in parts.items():
        if loader is None:
            continue
        folders[part] = _loader(loader, task, part)
    if not any(folders.values()):
        return
    train = folders.get("train", [])
    found["dataset_dir"] = folders if len(folders) > 1 else train if len(train) > 1 else train[0]


def _loader(loader: Entries, task: str, part: str) -> list[str]:
    """The folders of a part."""
    found = loader.conversion.settings
    paths = loader.take("data_path_list", [], ("data_paths",))
    dataset = loader.section("dataset")
    if dataset is not None:
        paths = paths or dataset.take("data_path", [])
        dataset.skip("data_path")
        _dataset(dataset, task, part)
        dataset.close()
    paths = paths or loader.take("data_path", [])
    batch_size = loader.take("batch_size")
    if batch_size and part == "train":
        found["batch_size"] = batch_size
    loader.skip("num_workers", "shuffle", "mode", "drop_last", "pin_memory", "data_path")
    for key in ("data_suffix_list", "label_suffix_list", "target_suffix_list"):
        if loader.take(key):
            loader.note(key, "the kind of a file is read from the file here")
    _transforms(loader, "data_transforms", task, part)
    for key in ("label_transforms", "target_transforms"):
        _transforms(loader, key, task, part)
    loader.close()
    return [str(path) for path in (paths if isinstance(paths, list) else [paths])]


def _dataset(dataset: Entries, task: str, part: str) -> None:
    """The names of the folders inside a data set."""
    found = dataset.conversion.settings
    name = str(dataset.take("name", ""))
    dataset.skip("dim", "data_suffix", "label_suffix", "target_suffix")
    images = dataset.take("data_dir", {"segmentation": "raw"}.get(task, "") if name in PAIRED else "")
    labels = dataset.take("label_dir", None, ("target_dir",))
    if name in PAIRED:
        for setting, value in (("image_folders", images), ("label_folder", labels or "label")):
            if found.setdefault(setting, value) != value:
                dataset.lack(setting, f"is {value!r} in {part} and {found[setting]!r} in training; expected one name")
    elif name in ALONE:
        if images:
            found.setdefault("image_folders", images)
    elif name not in CLASSES:
        dataset.lack("name", f"is {name!r}; expected {', '.join((*PAIRED, *ALONE, *CLASSES))}: store it as folders")
    if dataset.take("data_combine", "cat" if not isinstance(images, list) else "mean") != "cat":
        dataset.lack("data_combine", "modalities are channels here; expected cat")
    dataset.skip("label_combine")
    if dataset.take("crop_nonzero"):
        dataset.lack("crop_nonzero", "crops of training lie anywhere in the image here")


def _transforms(loader: Entries, key: str, task: str, part: str) -> None:
    """What is done to images; to labels the same is done here."""
    found = loader.conversion.settings
    for step in loader.sections(key):
        name = str(step.take("name", ""))
        arguments = {k: step.take(k) for k in step.names()}
        if key != "data_transforms":
            if name == "Relabel":
                step.lack("map", f"is {arguments.get('map')}; classes are 0, 1, ... in the files here: relabel them")
            elif name == "ToOneHot" and arguments.get("ignore_background") and task == "segmentation":
                found["num_classes"] = int(arguments.get("num_classes") or found["num_classes"]) + 1
                step.note("ignore_background", "the background is a class of its own here")
            continue
        if name == "Resize":
            size = list(arguments.get("size") or [])
            if size != found.get("image_size"):
                step.lack("size", f"is {size} while the encoder's image_size is {found.get('image_size')}")
            elif task == "segmentation":
                found["resize"] = True
        elif name in PROBABILITIES:
            setting = PROBABILITIES[name]
            if setting.partition("#")[2] not in AUGMENTED[task]:
                step.lack("name", f"{name} is no augmentation of {task} here")
            elif part == "train":
                found[setting] = _probability(arguments)
        elif name not in DONE:
            step.lack("name", f"is {name!r}, a transform that is not known")


def _probability(arguments: dict[str, Any]) -> float:
    for key in ("p", "execution_probability", "axis_prob"):
        if arguments.get(key) is not None:
            return float(arguments[key])
    return 0.5

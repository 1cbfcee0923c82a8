"""Trained bundles as the page serves them: cases, and the steps from a case to a prediction."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from monai.bundle import ConfigParser
from monai.engines import default_prepare_batch
from monai.transforms import Compose
from torch import nn

from ..commands.bundle_files import WEIGHTS, all_bundles, find_bundle, read_config
from ..commands.bundle_runs import read_stack
from ..diffusion.inferers import AveragedInferer
from ..inferers import WindowInferer
from ..recipes import trained_bundles
from ..transforms import CheckCased
from ..utils import as_bool, first_cause, load_weights
from .limits import Deadline

KINDS = ("segmentation", "reconstruction", "classification", "generation")
Case = dict[str, Any]
OnProgress = Callable[[float], None]
_logger = logging.getLogger(__name__)


def bundles_to_serve(names: Sequence[str]) -> list[Path]:
    """The folders of bundles with weights.

    Args:
        names: in `bundles/`, or paths; none for all that have weights.

    Raises:
        FileNotFoundError: If there is no such bundle.
        ValueError: If a bundle has no weights, there are none, or two have one name.
    """
    folders = [find_bundle(name) for name in names]
    bare = next((folder for folder in folders if not (folder / WEIGHTS).is_file()), None)
    if bare is not None:
        raise ValueError(f"{bare} has no {WEIGHTS}; expected a trained bundle: train it first")
    folders = folders or [folder for folder in all_bundles() if (folder / WEIGHTS).is_file()]
    if not folders:
        raise ValueError("there is no bundle with weights; expected one in bundles/: name the folder of a trained one")
    twice = next(
        (folder.name for i, folder in enumerate(folders) if folder.name in [f.name for f in folders[:i]]), None
    )
    if twice is not None:
        raise ValueError(f"two bundles are called {twice}; expected one of each name: leave one out")
    return folders


class ServedBundle:
    """A bundle by its ``inference.json``, as a client would use it; its network is built when it is first needed.

    Args:
        folder: of the bundle.
        dataset_dir: a folder of cases, or one of data sets by the names that trained bundles have for theirs; None for
            the phantoms that the bundle makes.
        device: as the bundle's setting.
    """

    def __init__(self, folder: Path, dataset_dir: str | os.PathLike | None = None, device: str = "auto") -> None:
        self.folder, self.device = folder, device
        self.name = folder.name
        self.config = self._parser()
        self.dataset_dir = self._dataset_dir(dataset_dir)
        self._lock = threading.Lock()
        # made before several visitors ask for them at once, which a parser is not made for
        self._before, self._after = self.setting("preprocessing"), self.setting("postprocessing")

    def _parser(self, **settings: Any) -> ConfigParser:
        parser = read_stack(self.folder, ("inference",))
        if "inferer#progress" in parser:  # the page has a bar of its own
            parser["inferer#progress"] = False
        for name, value in {"device": self.device, **settings}.items():
            parser[name] = value
        return parser

    def _dataset_dir(self, folder: str | os.PathLike | None) -> str | None:
        if folder is None:
            return None
        known = next((row.dataset for row in trained_bundles() if row.name == self.name), None)
        path = Path(folder).expanduser()
        return str(path / known if known is not None and (path / known).is_dir() else path)

    @property
    def generates(self) -> bool:
        """Whether it makes images from noise, and so has no cases."""
        return "datalist" not in self.config

    @cached_property
    def kind(self) -> str:
        """What it does, one of ``KINDS``."""
        task = "generation" if self.generates else self.setting("datalist#task")
        return "reconstruction" if task == "generation" and not self.generates else task

    def setting(self, name: str, default: Any = None) -> Any:
        """The value of a setting, ``default`` where the bundle has none of that name."""
        return self.config.get_parsed_content(name) if name in self.config else default

    @property
    def spatial_dims(self) -> int:
        """Axes that the network works on."""
        return self.setting("spatial_dims")

    @property
    def num_classes(self) -> int | None:
        """Classes, of a segmentation with the background; None without."""
        return self.setting("num_classes")

    @cached_property
    def class_names(self) -> list[str]:
        """A name per class."""
        count = self.num_classes or 0
        named = self.setting("class_names")
        if self.kind == "segmentation" and named is None:
            channels = self.config["_meta_"]["network_data_format"]["outputs"]["pred"]["channel_def"]
            named = [str(channels.get(str(i), f"class {i}")) for i in range(count)]
        return list(named or [f"class {i}" for i in range(count)])

    @property
    def multi_label(self) -> bool:
        """Whether the classes of a segmentation may overlap, and none of them is the background."""
        return as_bool(self.setting("multi_label", False))

    @cached_property
    def foreground(self) -> dict[int, str]:
        """The classes of a segmentation without the background, from 1 in label maps and in masks of each class."""
        if self.kind != "segmentation":
            return {}
        first = 1 if self.multi_label else 0
        return {label: name for label, name in enumerate(self.class_names, start=first) if label > 0}

    @cached_property
    def minutes(self) -> tuple[dict[str, list[float]] | None, str]:
        """What its evaluation takes for the minutes of classes, and for those that are absent."""
        config = read_config(self.folder, "evaluate")
        return config.get("time_saved"), config.get("time_absent", "ignore")

    @cached_property
    def title(self) -> str:
        """What it does in words."""
        return str(self.config["_meta_"].get("task", self.kind))

    @cached_property
    def cases(self) -> dict[str, Case]:
        """The cases to choose from by name.

        Raises:
            FileNotFoundError: If there is no such folder.
            ValueError: If the folder has no cases for this bundle.
        """
        if self.generates:
            return {}
        parser = self._parser(dataset_dir=self.dataset_dir)
        return {case["case"]: case for case in parser.get_parsed_content("datalist")}

    @cached_property
    def network(self) -> nn.Module:
        """The network with its weights, in eval mode."""
        network = self.config.get_parsed_content("network")
        load_weights(network, self.folder / WEIGHTS)
        return network.eval()

    @cached_property
    def loss(self) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
        """The loss that it was trained with, of an output and its target."""
        return read_stack(self.folder, ("train",)).get_parsed_content("loss")

    def load(self, case: Case) -> dict[str, Any]:
        """A case as its files have it, in RAS orientation: ``image`` (C, *S) and, for segmentation, its ``label``.

        Raises:
            FileNotFoundError: If a file is missing.
            ValueError: If a file is unreadable or does not fit the network.
        """
        steps = self._before.transforms
        last = next(i for i, step in enumerate(steps) if isinstance(step, CheckCased))
        with _causes():
            return Compose(steps[: last + 1])(dict(case))

    def preprocess(self, case: Case) -> dict[str, Any]:
        """What the network takes of a case, and its label where the bundle reads one.

        Raises:
            FileNotFoundError: If a file is missing.
            ValueError: If a file is unreadable or does not fit the network.
        """
        with _causes():
            return self._before(dict(case))

    def postprocess(self, item: dict[str, Any]) -> dict[str, Any]:
        """A prediction ``pred`` (C, *S) of ``image`` back on the grid of the file."""
        with _causes():
            return self._after(item)

    def inferer(self, **settings: Any) -> tuple[Any, ConfigParser]:
        """A new inferer under settings that differ for a run, and the parser that made it."""
        parser = self._parser(**settings)
        return parser.get_parsed_content("inferer"), parser

    def predict(self, inferer: Any, batch: dict[str, Any], deadline: Deadline, on_progress: OnProgress) -> torch.Tensor:
        """What an inferer makes of a batch.

        Args:
            inferer: of :meth:`inferer`.
            batch: ``image`` (B, C, *S) and what else the network is conditional on.
            deadline: when to stop.
            on_progress: takes the share that is done, from 0 to 1.

        Returns:
            (B, C_out, *S), on the CPU.

        Raises:
            ValueError: If the time is over, or the batch does not fit the network.
        """
        prepare = self.setting("evaluator#prepare_batch", default_prepare_batch)
        device = next(self.network.parameters()).device
        inputs, _, args, kwargs = _four(prepare(batch, device, False))
        total, done = _network_images(inferer, inputs), 0

        def count(_: nn.Module, args: tuple, kwargs: dict[str, Any]) -> None:
            nonlocal done
            deadline.check()
            on_progress(min(1.0, done / total))
            done += len(args[0] if args else kwargs["x"])

        with self._lock, torch.no_grad():
            hook = self.network.register_forward_pre_hook(count, with_kwargs=True)
            try:
                return inferer(inputs, self.network, *args, **kwargs).cpu()
            finally:
                hook.remove()


def _four(prepared: Sequence[Any]) -> Sequence[Any]:
    """What a batch is prepared to: image, label, positional and keyword arguments."""
    return prepared if len(prepared) == 4 else (*prepared, (), {})


def _network_images(inferer: Any, inputs: torch.Tensor) -> int:
    """About how many images an inferer gives the network."""
    window = getattr(inferer, "window", inferer)
    images = window.num_windows(inputs) if isinstance(window, WindowInferer) else len(inputs)
    sampler = getattr(inferer, "sampler", None)
    if sampler is not None:
        images *= sampler.num_inference_steps * (2 if inferer.guidance_scale != 1 else 1)
    return images * (inferer.num_samples if isinstance(inferer, AveragedInferer) else 1)


@contextmanager
def _causes() -> Iterator[None]:
    """Raise what a transform found in the place of MONAI's error about the transform."""
    try:
        yield
    except RuntimeError as error:
        cause = first_cause(error, ValueError, OSError)
        if cause is None:
            raise
        raise cause from None

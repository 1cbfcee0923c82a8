"""``examples.png`` of denoisers: samples, and restored validation cases."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from monai.engines import SupervisedEvaluator, Workflow
from monai.inferers import Inferer
from monai.networks.utils import eval_mode
from torch.utils.data import Dataset, default_collate

from ..io import write_png
from ..utils import load_weights, unwrap_model
from ..visualize import (
    Example,
    Tile,
    example_grid,
    is_volume,
    label_map,
    plain_image,
    upright,
)
from .examples import NUM_CASES, ROWS, Examples, middle, sliced
from .history import EXAMPLES

FIRST_DRAWING = 300.0
SHARE = 0.01
COLUMNS = 8
SAMPLE_TILE = 96


class SampledExamples(Examples):
    """Base of pictures for which a denoiser has to sample: at the end of a training, by the weights of its best epoch.

    Before the end it draws at the best validations, from the fifth minute on, as often as this takes one hundredth of
    the time.

    Args:
        output_dir: folder of the picture.
        evaluator: the trainer's; its network samples.
        inferer: samples.
        load_path: the best weights, which are read when the training ends with others.
        interval: epochs from picture to picture of the training's evolution; 0 draws none.

    Attributes:
        shown: how many validation cases are.
    """

    shown: ClassVar[int] = NUM_CASES

    def __init__(
        self,
        output_dir: str | os.PathLike,
        evaluator: SupervisedEvaluator,
        inferer: Inferer,
        load_path: str | os.PathLike,
        interval: int = 0,
    ) -> None:
        super().__init__(output_dir, evaluator, self.shown, interval)
        self.network = evaluator.network
        self.inferer = inferer
        self.load_path = Path(load_path)
        self._next = time.monotonic() + FIRST_DRAWING

    def picture(self, network: torch.nn.Module, epoch: int) -> np.ndarray:
        """The picture by a network, in eval mode, of an epoch's weights."""
        raise NotImplementedError(f"{type(self).__name__} does not draw")

    def due(self) -> bool:
        """Whether the time that pictures may take is there."""
        return time.monotonic() > self._next

    def draw(self, engine: Workflow) -> None:
        """Sample and write the picture."""
        start = time.monotonic()
        network, epoch = unwrap_model(self.network), engine.state.epoch
        if self._epoch not in (0, epoch) and self.load_path.is_file():
            present = deepcopy(network.state_dict())
            load_weights(network, self.load_path)  # into itself, for what decodes its samples may be a part of it
            picture = self._evaluated(network, self._epoch)
            network.load_state_dict(present)
        else:
            picture = self._evaluated(network, epoch)
        write_png(self.output_dir / EXAMPLES, picture)
        end = time.monotonic()
        self._next = end + (end - start) / SHARE

    def present(self, epoch: int) -> np.ndarray:
        """The picture by the network as it is."""
        return self._evaluated(unwrap_model(self.network), epoch)

    def _evaluated(self, network: torch.nn.Module, epoch: int) -> np.ndarray:
        with torch.no_grad(), eval_mode(network):
            return self.picture(network, epoch)


class SaveExampleSamples(SampledExamples):
    """Draws validation images, and samples below them: a row per class where there are classes.

    MONAI's ``TensorBoardImageHandler`` shows what a validation predicts, which of a denoiser is no sample.

    Args:
        output_dir: folder of the picture.
        evaluator: the trainer's; its network samples.
        inferer: from noise to images of values in [-1, 1].
        noise: initial noise, with a ``class_label`` where the network takes classes, see ``InitialNoise``.
        load_path: the best weights.
        condition_key: the network's context; what is no class is that of the validation images.
        interval: epochs from picture to picture of the training's evolution; 0 draws none.
    """

    shown: ClassVar[int] = COLUMNS

    def __init__(
        self,
        output_dir: str | os.PathLike,
        evaluator: SupervisedEvaluator,
        inferer: Inferer,
        noise: Dataset,
        load_path: str | os.PathLike,
        condition_key: str | None = None,
        interval: int = 0,
    ) -> None:
        super().__init__(output_dir, evaluator, inferer, load_path, interval)
        self.noise = noise
        self.condition_key = condition_key

    def keep(self, item: Mapping[str, Any], output: Mapping[str, Any], number: int) -> Any:
        """The image, its context and the name of its class."""
        image = item["image"]
        condition = None if self.condition_key is None else item[self.condition_key]
        return sliced(image, middle(image)), is_volume(image), condition, item.get("class_name")

    def picture(self, network: torch.nn.Module, epoch: int) -> np.ndarray:
        """Validation images and samples."""
        items = [self.noise[i] for i in range(len(self.noise))]  # type: ignore[arg-type]  # its length is known
        device = next(network.parameters()).device
        noise = torch.stack([item["image"] for item in items]).to(device)
        labels = [item.get("class_label") for item in items]
        conditions: list[Any] | None = labels
        if labels[0] is None:
            found = [condition for *_, condition, _ in self._seen if condition is not None]
            conditions = [found[i % len(found)] for i in range(len(items))] if found else None
        context = None if conditions is None else default_collate(conditions).to(device)
        samples = [plain_image(sample) for sample in self.inferer(noise, network, condition=context)]
        real = [upright(image, volume, -1.0, 1.0) for image, volume, *_ in self._seen]
        rows = [[Tile(picture, "" if i else "validation images") for i, picture in enumerate(real)]] if real else []
        volume = bool(self._seen) and self._seen[0][1]
        pictures = [upright(sliced(sample, middle(sample)), volume, -1.0, 1.0) for sample in samples]
        for label in dict.fromkeys(labels):
            own = [picture for picture, other in zip(pictures, labels) if other == label]
            for start in range(0, len(own), COLUMNS):
                name = "" if start else "samples" if label is None else f"samples of class {self._class_name(label)}"
                part = own[start : start + COLUMNS]
                rows.append([Tile(picture, "" if i else name) for i, picture in enumerate(part)])
        return example_grid(self.note("samples", epoch), rows, SAMPLE_TILE)

    def _class_name(self, label: int) -> str:
        names = [name for *_, condition, name in self._seen if name is not None and int(condition) == label]
        return names[0] if names else str(label)


class SaveExampleRestorations(SampledExamples):
    """Draws validation cases, their targets and what a denoiser under the image makes of them.

    MONAI's ``TensorBoardImageHandler`` shows what a validation predicts, which of a denoiser is no sample.

    Args:
        output_dir: folder of the picture.
        evaluator: the trainer's; its batches have ``image`` and ``label``.
        inferer: from images (B, C, *S) to mean and deviation of their samples (B, 2C', *S), as ``AveragedInferer``.
        load_path: the best weights.
        interval: epochs from picture to picture of the training's evolution; 0 draws none.
        task: ``reconstruction`` of degraded images, or ``segmentation`` or ``multi_label``, whose targets and means are
            probabilities of a channel per class.
    """

    def __init__(
        self,
        output_dir: str | os.PathLike,
        evaluator: SupervisedEvaluator,
        inferer: Inferer,
        load_path: str | os.PathLike,
        interval: int = 0,
        task: str = "reconstruction",
    ) -> None:
        super().__init__(output_dir, evaluator, inferer, load_path, interval)
        self.task = task

    def keep(self, item: Mapping[str, Any], output: Mapping[str, Any], number: int) -> Any:
        """The name, the image and the target of a case."""
        return str(item.get("case", f"case {number + 1}")), item["image"].detach().cpu(), item["label"].detach().cpu()

    def picture(self, network: torch.nn.Module, epoch: int) -> np.ndarray:
        """Image, target and output, of reconstructions the error too."""
        device = next(network.parameters()).device
        rows: list[Sequence[Tile]] = []
        for name, image, label in self._seen:
            mean = self.inferer(plain_image(image)[None].to(device), network)[0].chunk(2)[0]
            index = middle(image)
            target, output = (self._shown(sliced(x, index)) for x in (label, mean))
            rows.append(ROWS[self.task](Example(name, sliced(image, index), output, target, is_volume(image))))
        return example_grid(self.note("validation cases", epoch), rows)

    def _shown(self, output: np.ndarray) -> np.ndarray:
        """An output (C, X, Y) as its row of pictures takes it."""
        if self.task == "segmentation":
            return label_map(output)[None]
        return (output >= 0.5).astype(np.uint8) if self.task == "multi_label" else output

"""The parts of every recipe: components, workflows and the recipe itself."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

Config = dict[str, Any]

DEVICE = "$flemme_monai.utils.select_device(@device)"
AMP = "$flemme_monai.utils.use_amp(@amp, @device)"
BEST_WEIGHTS = "flemme_monai.utils.paths_in(@ckpt_dir, 'model.pt')"
MULTI_LABEL = "flemme_monai.utils.as_bool(@multi_label)"
# the key of a sample's class or numbers
CONTEXT_KEY = "$'class_label' if @num_classes else 'vector' if @condition_columns else None"


def component(target: str, **arguments: Any) -> Config:
    """An object that MONAI's parser builds.

    Args:
        target: dotted path of its class or function.
        arguments: what it is called with; ``_disabled_`` may be one of them.
    """
    return {"_target_": target, **arguments}


def compose(*transforms: Config | str) -> Config:
    """Transforms one after the other."""
    return component("monai.transforms.Compose", transforms=list(transforms))


def renamed(name: str, former: str, default: Any) -> Config:
    """A setting that is understood under its former name too.

    Args:
        name, former: its names.
        default: its value where neither is set.
    """
    return {former: None, name: f"$flemme_monai.utils.renamed_setting({name!r}, @{former}, {default!r})"}


@dataclass
class Workflow:
    """A config, in the order in which it is read.

    Args:
        settings: values that a user sets.
        components: objects, described by the settings.
        steps: what is evaluated at the start, to run, and at the end.
    """

    settings: Config
    components: Config
    steps: Config = field(default_factory=dict)

    def copy(self) -> Workflow:
        """A workflow that shares no object with this one, nor one part of it with another."""
        return Workflow(*json.loads(json.dumps([self.settings, self.components, self.steps])))

    def config(self) -> Config:
        """All of it, as it is written to a file."""
        return {**self.settings, **self.components, **self.steps}


@dataclass(frozen=True)
class Format:
    """The entries of ``metadata.json`` on a network's input and output.

    Args:
        type: of the output, such as ``image``.
        format: of the output, such as ``segmentation``.
        channels: what the first output channel is, and what each other is; ``{i}`` stands for its number.
        input_range: lowest and highest value of the image.
        output_range: of the output; empty without bounds.
        patches: whether the output is put together from windows.
    """

    type: str
    format: str
    channels: tuple[str, ...]
    input_range: tuple[int, ...]
    output_range: tuple[int, ...]
    patches: bool


@dataclass(frozen=True)
class Recipe:
    """The parts of a bundle.

    Args:
        title: what the bundle does, in words.
        workflows: its configs by the names of their files.
        format: the network's input and output.
        readme: name of its page in ``texts/``.
        references: papers of the architecture.
    """

    title: str
    workflows: dict[str, Workflow]
    format: Format
    readme: str
    references: tuple[str, ...] = ()

"""Recipes: functions that return the dictionaries of a bundle's configs.

A bundle's training of segmentation is :func:`flemme_monai.recipes.segmentation.training`, and so on: one function a
config, in the order of the JSON, whose parts are functions of :mod:`.training`, :mod:`.transforms`, :mod:`.handlers`
and :mod:`.networks`. :func:`make_bundle` writes what a recipe returns.
"""

from .base import Config, Format, Recipe, Workflow, component, compose
from .bundle import differences, make_bundle, make_trained, write
from .trained import TRAINED, TrainedBundle, trained_bundles

__all__ = [
    "TRAINED",
    "Config",
    "Format",
    "Recipe",
    "TrainedBundle",
    "Workflow",
    "component",
    "compose",
    "differences",
    "make_bundle",
    "make_trained",
    "trained_bundles",
    "write",
]

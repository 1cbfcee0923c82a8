"""The texts of ``texts/``, with the words of a bundle in them."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources

from ..registry import ARCHITECTURES, backbone
from .base import Recipe


def shipped_text(name: str) -> str:
    """A text as it is."""
    return (resources.files(__package__) / "texts" / name).read_text(encoding="utf-8")


def filled_text(name: str, words: Mapping[str, object]) -> str:
    """A text with a word in the place of each ``{name of the word}``."""
    text = shipped_text(name)
    for word, value in words.items():
        text = text.replace("{" + word + "}", str(value))
    return text


def words_of(name: str, pair: str, recipe: Recipe) -> dict[str, str]:
    """The words of every bundle's page.

    Args:
        name: the bundle's name.
        pair: ``<architecture>_<backbone>``.
        recipe: what the bundle is made of.
    """
    architecture, _, key = pair.partition("_")
    row = backbone(key)
    return {
        "name": name,
        "title": recipe.title,
        "architecture": ARCHITECTURES[architecture].name,
        "encoder": row.name,
        "encoder_title": row.title,
    }

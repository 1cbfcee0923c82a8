"""A handler of ours is there because those of others do not do its work."""

from __future__ import annotations

import inspect
import re

import pytest

from flemme_monai import handlers

CLASSES = [getattr(handlers, name) for name in handlers.__all__ if inspect.isclass(getattr(handlers, name))]


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_each_says_which_class_of_theirs_it_extends_or_replaces(kind):
    classes = [each for each in (kind, *kind.__bases__) if each.__module__.startswith("flemme")]
    said = " ".join(inspect.getdoc(each).split("Args:")[0] for each in classes)
    assert re.search(r"MONAI|Ignite|scikit-learn", said)

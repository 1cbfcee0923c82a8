"""A handler of ours is there because those of others do not do its work."""

from __future__ import annotations

import inspect
import re
from pydoc import locate

import pytest

from flemme_monai import handlers

CLASSES = [getattr(handlers, name) for name in handlers.__all__ if inspect.isclass(getattr(handlers, name))]


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_each_says_which_class_of_theirs_it_extends_or_replaces(kind):
    said = " ".join(inspect.getdoc(each) for each in (kind, *kind.__bases__) if each.__module__.startswith("flemme"))
    assert re.search(r"MONAI|Ignite|scikit-learn", said.split("Args:")[0])


@pytest.mark.parametrize(
    ("earlier", "kind"),
    [
        ("CaseReport", handlers.SaveCaseMetrics),
        ("LatentPicture", handlers.SaveLatentTSNE),
        ("Report", handlers.RunSummary),
        ("RunState", handlers.TrainingCheckpoint),
        ("SaveWay", handlers.SaveInterpolation),
    ],
)
def test_bundles_of_version_0_4_0_find_theirs(earlier, kind):
    assert locate(f"flemme_monai.handlers.{earlier}") is kind

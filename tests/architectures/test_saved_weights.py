"""Weights that were saved load for ever: small networks that version 0.4.0 saved, under today's names of their keys."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from flemme_monai.utils.network_config import build_network

SAVED = Path(__file__).parent / "weights"
# from the keys of version 0.4.0 to today's, applied one after another
RENAMED: tuple[tuple[str, str], ...] = ()


def networks() -> Iterator[Any]:
    """Each saved network: its config, its keys' shapes and values, and what it gave in evaluation and in training."""
    for path in sorted(SAVED.glob("*.pt")):
        for name, saved in torch.load(path, weights_only=True).items():
            yield pytest.param(saved, id=f"{path.stem}-{name}")


def renamed(key: str) -> str:
    for old, new in RENAMED:
        key = re.sub(old, new, key)
    return key


def state_dict(saved: dict[str, Any]) -> dict[str, torch.Tensor]:
    sizes = [torch.Size(shape).numel() for shape in saved["shapes"].values()]
    values = zip(saved["shapes"].items(), saved["values"].split(sizes))
    return {renamed(key): value.double().view(shape) for (key, shape), value in values}


@pytest.mark.parametrize("saved", networks())
def test_what_an_earlier_version_saved_gives_the_same_outputs(saved):
    network = build_network(saved["config"]).double()  # rounding is then far below what is compared
    network.load_state_dict(state_dict(saved))
    given = [x.double() if x is not None and x.is_floating_point() else x for x in saved["inputs"]]
    with torch.no_grad():
        assert_close(network.eval()(*given), saved["eval"])
        torch.manual_seed(0)
        assert_close(network.train()(*given), saved["train"])


def assert_close(found: torch.Tensor | list[torch.Tensor], expected: torch.Tensor | list[torch.Tensor]) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6, check_dtype=False)


def test_every_rule_of_the_table_renames_a_key():
    keys = [key for saved in networks() for key in saved.values[0]["shapes"]]
    for old, new in RENAMED:
        after = [re.sub(old, new, key) for key in keys]
        assert after != keys, f"{old} fits no key"
        keys = after

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
RENAMED: tuple[tuple[str, str], ...] = (
    (r"^(conditions|encoder)\.", r"backbone.\1."),  # a ClM's
    (r"^dense\.", "mlp."),
    (r"latent_vector\.", "bottleneck."),
    (r"\.entrance\.", ".input_conditioning."),
    (r"encoder\.position\.", "encoder.position_embedding."),
    (r"context\.encoder\.0\.", "context.encoder.patch_embedding."),
    (r"context\.encoder\.1\.", "context.encoder.stage."),
    (r"\.absent$", ".null_embedding"),
    (r"patch_recovery\.", "output_layer."),
    (r"pyramid\.blocks\.(\d+)\.", r"pyramid.levels.\1.block."),
    (r"pyramid\.heads\.(\d+)\.", r"pyramid.levels.\1.head."),
    (r"resamplers\.(\d+)\.0\.", r"resamplers.\1."),
    (r"\.(mixer|attention)\.", ".token_mixer."),
    (r"token_mixer\.core\.", "token_mixer.scan."),
    (r"\.mlp\.0\.", ".mlp.fc1."),
    (r"\.mlp\.[23]\.", ".mlp.fc2."),
    (r"down\.(\d+)\.0\.", r"down.\1.reduction."),
    (r"up\.(\d+)\.0\.", r"up.\1.up."),
    (r"(down|up)\.(\d+)\.1\.", r"\1.\2.norm."),
    (r"output_layer\.0\.conv\.", "output_layer.expand.conv."),
    (r"output_layer\.[01]\.", "output_layer.proj."),
    (r"(blocks\.\d+|patch_embedding|\.conv[12])\.0\.(?=weight|bias)", r"\1.conv."),
    (r"(blocks\.\d+|patch_embedding|\.conv[12])\.1\.(?=weight|bias|running|num)", r"\1.norm."),
    # of two depthwise-separable convolutions
    (r"blocks\.(\d+)\.0\.(?=\d)", r"blocks.\1.conv1."),
    (r"blocks\.(\d+)\.1\.(?=\d)", r"blocks.\1.conv2."),
    (r"blocks\.(\d+)\.conv([12])\.0\.", r"blocks.\1.conv\2.depthwise."),
    (r"blocks\.(\d+)\.conv([12])\.1\.", r"blocks.\1.conv\2.conv."),
    (r"blocks\.(\d+)\.conv([12])\.2\.", r"blocks.\1.conv\2.norm."),
)


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

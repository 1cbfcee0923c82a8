"""The trunk of a Vision Transformer: positions are learned at any size; files of timm's and JAX's are taken."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from flemme_monai.backbones.encoder_weights import load_encoder_weights
from flemme_monai.backbones.extractors.vit import ViTTrunk


def trunk(seed: int = 0, dims: int = 2, **settings) -> ViTTrunk:
    """A small trunk, whose norms have weights of their own."""
    torch.manual_seed(seed)
    settings = {"channels": 12, "depth": 2, "num_heads": 3, "patch_size": 4, "grid_size": 3, **settings}
    made = ViTTrunk(dims, 3, **settings).eval()
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return made


def by_timms_names(made: ViTTrunk, class_token: bool = True) -> dict[str, torch.Tensor]:
    """The weights of a trunk as timm has them, with a class token's row among the positions."""
    state = {}
    for key, tensor in made.state_dict().items():
        key = re.sub(r"^stages\.(\d+)\.blocks\.0\.", r"blocks.\1.", key).replace(".token_mixer.", ".attn.")
        state[key] = tensor.clone()
    table = state.pop("pos_embed.grid").flatten(2).mT  # (1, C, *grid) -> (1, L, C)
    state["pos_embed"] = torch.cat([torch.full_like(table[:, :1], 9.0), table], 1) if class_token else table
    for key in [key for key in state if ".attn.query." in key]:
        parts = [state.pop(key), state.pop(key.replace("query", "key_value"))]
        state[key.replace("query", "qkv")] = torch.cat(parts)
    return {**state, "cls_token": torch.zeros(1, 1, 12), "head.weight": torch.zeros(10, 12)}


def by_jaxs_names(made: ViTTrunk, heads: int = 3) -> dict[str, np.ndarray]:
    """The same as Flax has them: kernels with the output's channels last, heads on an axis of their own."""
    found = {}
    for key, tensor in by_timms_names(made).items():
        if key == "pos_embed":
            found["Transformer/posembed_input/pos_embedding"] = tensor
        elif key.startswith("patch_embed"):
            kernel = key.endswith("weight")
            found[f"embedding/{'kernel' if kernel else 'bias'}"] = tensor.permute(2, 3, 1, 0) if kernel else tensor
        elif key.startswith("norm."):
            found[f"Transformer/encoder_norm/{'scale' if key.endswith('weight') else 'bias'}"] = tensor
        elif key.startswith("blocks."):
            _, i, module, *rest = key.split(".")
            block = f"Transformer/encoderblock_{i}"
            kind = "kernel" if key.endswith("weight") else "bias"
            if module in ("norm1", "norm2"):
                name = {"norm1": "LayerNorm_0", "norm2": "LayerNorm_2"}[module]
                found[f"{block}/{name}/{kind.replace('kernel', 'scale')}"] = tensor
            elif module == "mlp":
                found[f"{block}/MlpBlock_3/Dense_{int(rest[0] == 'fc2')}/{kind}"] = (
                    tensor.T if kind == "kernel" else tensor
                )
            elif rest[0] == "proj":
                shape = (heads, -1, 12) if kind == "kernel" else (12,)
                found[f"{block}/MultiHeadDotProductAttention_1/out/{kind}"] = (
                    tensor.T if kind == "kernel" else tensor
                ).reshape(shape)
            else:
                for part, value in zip(("query", "key", "value"), tensor.chunk(3)):
                    shape = (12, heads, -1) if kind == "kernel" else (heads, -1)
                    found[f"{block}/MultiHeadDotProductAttention_1/{part}/{kind}"] = (
                        value.T if kind == "kernel" else value
                    ).reshape(shape)
    return {key: value.numpy() for key, value in found.items()}


@pytest.mark.parametrize("names", ["timm", "timm without class token", "jax"])
def test_published_weights_give_the_same_output(names, tmp_path):
    there, here, path = trunk(), trunk(1), tmp_path / ("vit.npz" if names == "jax" else "vit.pth")
    if names == "jax":
        np.savez(path, **by_jaxs_names(there))
    else:
        torch.save(by_timms_names(there, names == "timm"), path)
    load_encoder_weights(here, path)
    x = torch.randn(2, 3, 8, 20)
    torch.testing.assert_close(here(x)[0], there(x)[0])


def test_a_table_of_another_size_is_interpolated(tmp_path):
    there, here = trunk(grid_size=6), trunk(1)
    torch.save(by_timms_names(there), tmp_path / "vit.pth")
    load_encoder_weights(here, tmp_path / "vit.pth")
    expected = F.interpolate(there.pos_embed.grid, size=(3, 3), mode="bilinear", align_corners=False)
    torch.testing.assert_close(here.pos_embed.grid, expected)


def test_a_file_of_arrays_that_holds_objects_is_refused(tmp_path: Path):
    np.savez(tmp_path / "vit.npz", kernel=np.array([{}], dtype=object))
    with pytest.raises(ValueError, match="is no file of arrays"):
        load_encoder_weights(trunk(), tmp_path / "vit.npz")


@pytest.mark.parametrize("dims", [2, 3])
def test_positions_are_trained(dims):
    made = trunk(dims=dims)
    x, (table,) = torch.randn(1, 3, *[8] * dims), [p for n, p in made.named_parameters() if n == "pos_embed.grid"]
    before = table.detach().clone()
    optimizer = torch.optim.SGD(made.parameters(), 0.1)
    made(x)[0].square().mul(torch.randn(12, *[1] * dims)).sum().backward()
    optimizer.step()
    assert not torch.equal(before, table)
    assert not torch.equal(made(x)[0], made(x.flip(2))[0].flip(2))  # it knows where a patch is


def test_taps_are_what_the_blocks_give():
    made, seen = trunk(depth=3, taps=[0, 2]), []
    for stage in made.stages:
        stage.register_forward_hook(lambda _, inputs, out: seen.append(out))
    latent, features = made(torch.randn(1, 3, 8, 8))
    assert [f is s for f, s in zip(features, (seen[0], seen[2]))] == [True, True]
    torch.testing.assert_close(latent, made.norm(seen[2].movedim(1, -1)).movedim(-1, 1))
    assert {m.eps for m in made.modules() if isinstance(m, torch.nn.LayerNorm)} == {1e-6}


@pytest.mark.parametrize("taps", [[2, 0], [0, 3], [0, 0]])
def test_other_taps_are_refused(taps):
    with pytest.raises(ValueError, match="expected blocks from 0 to 2 in ascending order"):
        trunk(depth=3, taps=taps)


def test_timms_network_gives_the_same_output():
    timm = pytest.importorskip("timm", exc_type=ImportError)  # it imports torchvision
    from timm.models.vision_transformer import VisionTransformer

    assert timm
    settings = {"patch_size": 4, "embed_dim": 12, "depth": 2, "num_heads": 3, "num_classes": 0, "class_token": False}
    net = VisionTransformer(12, global_pool="avg", fc_norm=False, **settings).eval()
    here = trunk()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    from flemme_monai.backbones.encoder_weights import renamed

    here.load_state_dict(renamed(here.converted(net.state_dict()), here.weight_names))
    x = torch.randn(2, 3, 12, 12)
    torch.testing.assert_close(here(x)[0].flatten(2).mT, net.forward_features(x), rtol=1e-4, atol=1e-4)

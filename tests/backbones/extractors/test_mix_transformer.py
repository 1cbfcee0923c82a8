"""The Mix Transformer: its strides, its reductions, and files by the names of three publishers."""

from __future__ import annotations

import re

import pytest
import torch

from flemme_monai.backbones.encoder_weights import load_encoder_weights
from flemme_monai.backbones.extractors.mit import MixTransformer
from flemme_monai.blocks.mix_ffn import MixFFN

# what each publisher calls the parts of a block
NAMES = {
    "transformers": {
        "norm1": "layer_norm_1",
        "norm2": "layer_norm_2",
        "query": "attention.self.query",
        "proj": "attention.output.dense",
        "reduce": "attention.self.sr",
        "norm": "attention.self.layer_norm",
        "fc": "mlp.dense",
    },
    "transformers 5 in memory": {
        "norm1": "layernorm_before",
        "norm2": "layernorm_after",
        "query": "attention.q_proj",
        "proj": "attention.o_proj",
        "reduce": "attention.sequence_reduction.sequence_reduction",
        "norm": "attention.sequence_reduction.layer_norm",
        "fc": "mlp.fc",
    },
    "the authors": {
        "norm1": "norm1",
        "norm2": "norm2",
        "query": "attn.q",
        "proj": "attn.proj",
        "reduce": "attn.sr",
        "norm": "attn.norm",
        "fc": "mlp.fc",
    },
}
# of stage S and block I
PLACES = {
    "transformers": (
        "segformer.encoder.patch_embeddings.S.",
        "segformer.encoder.block.S.I.",
        "segformer.encoder.layer_norm.S.",
    ),
    "transformers 5 in memory": (
        "segformer.stages.S.patch_embeddings.",
        "segformer.stages.S.blocks.I.",
        "segformer.stages.S.layer_norm.",
    ),
    "the authors": ("patch_embedS.", "blockS.I.", "normS."),
}


def trunk(seed: int = 0, dims: int = 2, **settings) -> MixTransformer:
    """A small trunk, whose parameters are all random."""
    torch.manual_seed(seed)
    made = MixTransformer(dims, 3, (4, 8, 10, 16), (1, 2, 1, 1), **settings).eval()
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return made


def published(made: MixTransformer, publisher: str) -> dict[str, torch.Tensor]:
    """The weights of a trunk by a publisher's names."""
    state, names = {}, NAMES[publisher]
    down, block, norm = PLACES[publisher]
    own = publisher == "the authors"
    for key, tensor in made.state_dict().items():
        if found := re.match(r"downs\.(\d)\.(proj|norm)\.(\w+)", key):
            part = found[2] if own or found[2] == "proj" else "layer_norm"
            name = f"{down}{part}.{found[3]}"
        elif found := re.match(r"norms\.(\d)\.(\w+)", key):
            name = f"{norm}{found[2]}"
        else:
            found = re.match(r"stages\.(\d)\.blocks\.(\d)\.(.*)\.(\w+)", key)
            part, kind = found[3].replace("token_mixer.", ""), found[4]
            inside = block.replace("I", found[2])
            if part == "key_value" and not own:
                key_name, value_name = (
                    names["query"].replace(*pair) for pair in (("query", "key"), ("query", "value"))
                )
                if publisher != "transformers":
                    key_name, value_name = "attention.k_proj", "attention.v_proj"
                for name, half in zip((key_name, value_name), tensor.chunk(2)):
                    state[f"{inside}{name}.{kind}".replace("S", found[1])] = half.clone()
                continue
            if part == "key_value":
                part = "attn.kv"
            elif part.startswith("mlp.fc"):
                part = f"{names['fc']}{part[-1]}"
            elif part == "mlp.dwconv":
                part = "mlp.dwconv.dwconv"
            else:
                part = names[part]
            name = f"{inside}{part}.{kind}"
        state[name.replace("S", str(int(found[1]) + own))] = tensor.clone()
    return state


@pytest.mark.parametrize("publisher", NAMES)
def test_published_weights_give_the_same_output(publisher, tmp_path):
    there, here = trunk(), trunk(1)
    torch.save({**published(there, publisher), "classifier.bias": torch.zeros(3)}, tmp_path / "mit.pth")
    load_encoder_weights(here, tmp_path / "mit.pth")
    assert all(torch.equal(a, b) for a, b in zip(here.state_dict().values(), there.state_dict().values()))
    x = torch.randn(1, 3, 32, 64)
    torch.testing.assert_close(here(x)[0], there(x)[0])


@pytest.mark.parametrize(("dims", "factors"), [(2, [8, 4, 2, 1]), (3, [4, 2, 1, 1])])
def test_keys_are_reduced_by_these_factors(dims, factors):
    made = trunk(dims=dims)
    assert [stage.blocks[0].token_mixer.reduction for stage in made.stages] == factors
    latent, features = made(torch.randn(1, 3, *[32, 64, 32][:dims]))
    assert [f.shape[2] for f in (*features, latent)] == [8, 4, 2, 1]
    assert [f.shape[3] for f in (*features, latent)] == [16, 8, 4, 2]


def test_the_perceptron_looks_at_its_neighbours():
    made, x = MixFFN(2, 4), torch.zeros(1, 5, 5, 4, requires_grad=True)
    made(x)[0, 2, 2].sum().backward()
    assert x.grad.abs().sum(-1)[0].bool().nonzero().tolist() == [[i, j] for i in (1, 2, 3) for j in (1, 2, 3)]


def test_four_stages_are_needed():
    with pytest.raises(ValueError, match="have 4, 3, 4 and 4 numbers; expected four of each"):
        MixTransformer(2, 3, depths=(1, 1, 1))


def test_transformers_give_the_same_features():
    transformers = pytest.importorskip("transformers", exc_type=ImportError)
    from flemme_monai.backbones.encoder_weights import renamed

    sizes = {"hidden_sizes": [4, 8, 10, 16], "depths": [1, 2, 1, 1], "num_attention_heads": [1, 2, 5, 8]}
    net = transformers.SegformerModel(transformers.SegformerConfig(**sizes)).eval()
    made = trunk()
    made.load_state_dict(renamed(made.converted(net.state_dict()), made.weight_names))
    x = torch.randn(2, 3, 64, 32)
    latent, features = made(x)
    for ours, theirs in zip((*features, latent), net(x, output_hidden_states=True).hidden_states):
        torch.testing.assert_close(ours, theirs.reshape(ours.shape), rtol=1e-4, atol=1e-4)

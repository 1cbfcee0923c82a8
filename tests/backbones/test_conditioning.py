"""The conditions of a backbone: every combination that its settings allow, and the ones they refuse."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from itertools import product

import pytest
import torch
from torch import nn

from flemme_monai import architectures
from flemme_monai.backbones import ConditioningConfig, ConvFamily, UNet
from flemme_monai.blocks import INJECTIONS, BlockInjection, FiLM, Stage
from tests.networks import ENCODERS, PLAIN, SIZES, backbone, image

SIZE = {"class": 3, "image": 2, "position": 2}
CONTEXTS = (("class", 0), ("position", 0), ("image", 0), ("image", 1))
SIDES = ("encoder", "decoder", "both")


def takes(encoder: str, conditioning: ConditioningConfig) -> bool:
    """Whether a small encoder's norm leaves what the conditions add to a channel; else it refuses them."""
    return not (conditioning.channel_shifts and backbone(encoder, 2).family.norm_removes_channel_shift)


def commute(time: str, kind: str, context: str) -> bool:
    """Whether the order of two injections changes nothing: two factors, or two sums; what has no extent is one token,
    whose attention is a sum."""
    adds = {"bias"} if context == "image" else {"bias", "cross_attention"}
    return time == kind == "gate" or (time in ("bias", "cross_attention") and kind in adds)


def combinations() -> Iterator[ConditioningConfig]:
    """Every combination of timesteps, context, way and place that the settings allow."""
    times: list[dict] = [{}, *({"timesteps": True, "time_injection": kind} for kind in INJECTIONS)]
    yield from (ConditioningConfig(**time, channels=8) for time in times[1:])
    ways: list[dict] = [{"combine": "injection", "injection": kind} for kind in INJECTIONS]
    ways += [{"combine": "add"}, {"combine": "cat"}]
    for (context, depth), way, side, time in product(CONTEXTS, ways, SIDES, times):
        settings = {
            "context": context,
            "context_size": SIZE[context],
            "image_depth": depth,
            "side": side,
            "channels": 8,
        }
        yield ConditioningConfig(**time, **way, **settings)
        if "injection" in way and time and not commute(time["time_injection"], way["injection"], context):
            yield ConditioningConfig(**time, **way, **settings, condition_first=True)


def name(c: ConditioningConfig) -> str:
    parts = [c.time_injection and f"time_{c.time_injection}", c.context, c.image_depth and "encoded", c.combine]
    return "-".join(str(p) for p in [*parts, c.injection, c.side, c.condition_first and "first"] if p)


def few(start: int) -> list[ConditioningConfig]:
    """Every context with every way, in a place and beside a time that change from one to the next."""
    groups: dict[tuple, list[ConditioningConfig]] = {}
    for c in combinations():
        groups.setdefault((c.context, c.image_depth, c.combine, c.injection), []).append(c)
    return [group[(7 * i + start) % len(group)] for i, group in enumerate(groups.values())]


def conditions(c: ConditioningConfig, dims: int) -> dict[str, torch.Tensor]:
    """Conditions of two images."""
    contexts = {
        "class": torch.tensor([0, 2]),
        "position": torch.tensor([[1, 5], [4, 2]]),
        "image": torch.randn(2, SIZE["image"], *SIZES[dims], dtype=torch.float64),
    }
    given = {"timesteps": torch.tensor([3.0, 700.0])} if c.timesteps else {}
    return given | ({"context": contexts[c.context]} if c.context else {})


def wake(net: nn.Module) -> nn.Module:
    """Injections begin as the identity: let them say something."""
    for parameter in net.parameters():
        if not parameter.any():
            nn.init.normal_(parameter, std=0.5)
    return net


def conditional_backbone(encoder: str, dims: int, c: ConditioningConfig, **settings) -> nn.Module:
    """A small network in double precision, with units that are alive and a norm that keeps samples apart."""
    if encoder in ("CNN", "UNet"):
        settings["family"] = ConvFamily(norm="group", num_groups=4, act="gelu")
    return wake(backbone(encoder, dims, conditioning=c, **settings)).double().eval()


def same(a: torch.Tensor, b: torch.Tensor) -> bool:
    """In double precision, where rounding is far from the faintest word."""
    return torch.allclose(a, b, rtol=0, atol=1e-9)


def check(encoder: str, dims: int, c: ConditioningConfig, **settings) -> None:
    x, given = image(dims).double(), conditions(c, dims)
    net = conditional_backbone(encoder, dims, c, **settings)
    out = net(x, **given)
    assert out.output.shape == (2, 2, *SIZES[dims])
    alone = net(x[1:], **{key: value[1:] for key, value in given.items()})
    assert same(alone.output, out.output[1:])

    if c.timesteps:
        later = net(x, **{**given, "timesteps": given["timesteps"] + 50})
        assert not same(later.output, out.output)
        assert not same(later.latent, out.latent)
    if c.context:
        absent = torch.full_like(given["context"], -1)
        for context in given["context"].flip(0), absent:
            other = net(x, **{**given, "context": context})
            assert not same(other.output, out.output)
            assert same(other.latent, out.latent) == (c.side == "decoder")
        one, two = (
            net.embed(2, x.shape[2:], given.get("timesteps"), context) for context in (given["context"], absent)
        )
        latent, skips = net.encode(x, one)
        assert same(net.decode(latent, skips, two).output, out.output) == (c.side == "encoder")
    if c.condition_first:
        later = conditional_backbone(encoder, dims, replace(c, condition_first=False), **settings)
        later.load_state_dict(net.state_dict())
        assert not same(later(x, **given).output, out.output)

    net.train()(x, **given).output.square().mean().backward()
    assert [n for n, p in net.named_parameters() if p.grad is None or not p.grad.isfinite().all()] == []


@pytest.mark.parametrize("conditioning", combinations(), ids=name)
def test_every_combination_is_received_where_it_should_be_and_nowhere_else(conditioning):
    check("UNet", 2, conditioning, channels=(8,), middle_channels=(8,), num_blocks=1)


@pytest.mark.parametrize(
    ("encoder", "dims", "conditioning"),
    [
        pytest.param(encoder, dims, c, id=f"{encoder}{dims}d-{name(c)}", marks=[] if dims == 2 else pytest.mark.slow)
        for i, (encoder, dims) in enumerate(product(PLAIN, (2, 3)))
        for c in few(i)
        if takes(encoder, c)
    ],
)
def test_every_family_receives_every_condition_in_2d_and_3d(encoder, dims, conditioning):
    check(encoder, dims, conditioning)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "names neither timesteps nor a context"),
        ({"context": "klass", "context_size": 3}, "context is 'klass'; expected one of class, image, position"),
        ({"timesteps": True, "time_injection": "film"}, "time_injection is 'film'; expected one of gate_bias, gate"),
        ({"context": "class", "context_size": 3, "combine": "sum"}, "combine is 'sum'; expected one of injection, add"),
        ({"context": "class", "context_size": 3, "injection": "add"}, "injection is 'add'; expected one of gate_bias"),
        ({"context": "class", "context_size": 3, "side": "middle"}, "side is 'middle'; expected one of both, encoder"),
        ({"context": "class"}, "context_size is None; expected for a context 'class' the number of"),
        ({"context": "image", "context_size": 0}, "context_size is 0; expected for a context 'image'"),
        ({"context": "class", "context_size": 3, "drop": 1.0}, "drop is 1.0; expected a probability below 1"),
        ({"context": "image", "context_size": 1, "image_depth": -1}, "image_depth is -1; expected 0"),
        ({"context": "class", "context_size": 3, "time_injection": "bias"}, "time_injection=bias without timesteps"),
        ({"timesteps": True, "context_size": 3}, "context_size=3 without a context"),
        ({"timesteps": True, "combine": "cat"}, "combine=cat without a context"),
        ({"timesteps": True, "side": "encoder"}, "side=encoder without a context"),
        ({"timesteps": True, "drop": 0.1}, "drop=0.1 without a context"),
        ({"timesteps": True, "injection": "gate"}, "injection=gate without a context that is injected"),
        (
            {"context": "class", "context_size": 3, "combine": "add", "injection": "gate"},
            "injection=gate without a context that is injected",
        ),
        ({"timesteps": True, "condition_first": True}, "condition_first=True without timesteps and a context"),
        ({"context": "class", "context_size": 3, "condition_first": True}, "condition_first=True without timesteps"),
        (
            {"timesteps": True, "context": "class", "context_size": 3, "combine": "cat", "condition_first": True},
            "condition_first=True without timesteps and a context that is injected",
        ),
        ({"context": "class", "context_size": 3, "image_depth": 1}, "image_depth=1 without an image as context"),
    ],
)
def test_a_setting_that_is_wrong_or_without_use_is_refused(settings, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        ConditioningConfig(**settings)


@pytest.mark.parametrize(("time", "kind", "context"), product(INJECTIONS, INJECTIONS, ("class", "image")))
def test_an_order_that_changes_nothing_is_refused(time, kind, context):
    def make() -> ConditioningConfig:
        return ConditioningConfig(True, time, context, SIZE[context], 8, injection=kind, condition_first=True)

    if not commute(time, kind, context):
        make()
        return
    with pytest.raises(ValueError, match=f"time_injection='{time}' and injection='{kind}' give the same in either"):
        make()


@pytest.mark.parametrize(
    ("settings", "refused"),
    [
        ({"timesteps": True, "time_injection": "bias"}, "time_injection='bias'"),
        ({"timesteps": True, "time_injection": "cross_attention"}, "time_injection='cross_attention'"),
        ({"context": "class", "injection": "bias"}, "injection='bias'"),
        ({"context": "position", "injection": "cross_attention"}, "injection='cross_attention'"),
        ({"context": "class", "combine": "add"}, "combine='add'"),
        ({"context": "position", "combine": "cat"}, "combine='cat'"),
        ({"timesteps": True, "context": "class", "injection": "gate"}, None),
        ({"context": "image", "injection": "bias"}, None),
        ({"context": "image", "combine": "add"}, None),
    ],
)
def test_an_instance_norm_forgets_what_is_added_to_a_whole_channel(settings, refused):
    size = {"context_size": SIZE[settings["context"]]} if "context" in settings else {}
    c = ConditioningConfig(**settings, **size, channels=8)
    family = ConvFamily(norm="instance")
    if refused is None:
        assert backbone("UNet", 2, family=family, conditioning=c)(image(2), **condition_inputs(c)).output.shape[1] == 2
        return
    with pytest.raises(ValueError, match=f"{refused} has no effect"):
        backbone("UNet", 2, family=family, conditioning=c)


def condition_inputs(c: ConditioningConfig) -> dict[str, torch.Tensor]:
    return {key: v.float() if v.is_floating_point() else v for key, v in conditions(c, 2).items()}


CLASS = ConditioningConfig(timesteps=True, context="class", context_size=3, channels=8)
STEPS, CLASSES = torch.tensor([1, 2]), torch.tensor([0, 1])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"context": CLASSES}, "this backbone was built with conditioning#timesteps and needs them at every call"),
        ({"timesteps": STEPS}, "this backbone was built with conditioning#context and needs them at every call"),
        (
            {"timesteps": torch.tensor([1, 2, 3]), "context": CLASSES},
            "timesteps has shape (3,); expected (2,) for 2 images",
        ),
        ({"timesteps": STEPS, "context": torch.tensor([0])}, "context has shape (1,); a context 'class' for 2 images"),
        ({"timesteps": STEPS, "context": torch.tensor([0, 3])}, "class label [0, 3]; expected 0 to 2, or -1 for none"),
        ({"timesteps": STEPS, "context": torch.tensor([-2, 0])}, "class label [-2, 0]; expected 0 to 2"),
    ],
)
def test_conditions_must_fit(given, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        backbone("CNN", 2, conditioning=CLASS)(image(2), **given)


@pytest.mark.parametrize(
    ("context", "shape", "expected"),
    [
        ("image", (2, 2, 8, 8), "(2, 2, 16, 24)"),
        ("image", (2, 1, 16, 24), "(2, 2, 16, 24)"),
        ("position", (2, 3), "(2, 2)"),
    ],
)
def test_a_condition_of_another_size_is_refused(context, shape, expected):
    net = backbone("CNN", 2, conditioning=ConditioningConfig(context=context, context_size=2, channels=8))
    message = f"context has shape {shape}; a context '{context}' for 2 images of size (16, 24) has {expected}"
    with pytest.raises(ValueError, match=re.escape(message)):
        net(image(2), None, torch.rand(shape))


def test_one_time_step_holds_for_all_images_and_classes_may_be_a_column():
    net = wake(backbone("CNN", 2, conditioning=CLASS)).eval()
    x = image(2)
    all_at_7 = net(x, torch.tensor([7, 7]), CLASSES).output
    torch.testing.assert_close(net(x, torch.tensor([7]), CLASSES[:, None]).output, all_at_7)


ALL_SAID = [
    ConditioningConfig(timesteps=True, context=context, context_size=SIZE[context], channels=8, **way)
    for context, way in (
        ("class", {"combine": "cat"}),
        ("position", {"combine": "add"}),
        ("image", {"injection": "cross_attention", "image_depth": 1, "drop": 0.5}),
    )
]


SAID = [pytest.param(e, c, id=f"{e}-{name(c)}") for e, c in product(PLAIN, ALL_SAID) if takes(e, c)]


@pytest.mark.parametrize(("encoder", "conditioning"), SAID)
def test_scripting_keeps_conditions(encoder, conditioning):
    net = wake(backbone(encoder, 2, conditioning=conditioning)).eval()
    x, given = image(2), condition_inputs(conditioning)
    scripted, out = torch.jit.script(net)(x, **given), net(x, **given)
    torch.testing.assert_close(scripted.output, out.output, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("encoder", "conditioning"), SAID)
def test_checkpointing_changes_no_gradient_under_conditions(encoder, conditioning):
    x, given, grads = image(2), condition_inputs(conditioning), []
    plain = wake(backbone(encoder, 2, conditioning=conditioning))
    saving = backbone(encoder, 2, conditioning=conditioning, checkpointing=True)
    saving.load_state_dict(plain.state_dict())
    for net in plain, saving:
        torch.manual_seed(1)  # the same samples lose their condition
        net(x, **given).output.square().mean().backward()
        grads.append([p.grad for p in net.parameters()])
    torch.testing.assert_close(*grads)


TOLD_IN_BFLOAT16 = {
    "DDPM": ALL_SAID[2],
    "EDM": ALL_SAID[0],
    "VAE": ConditioningConfig(context="class", context_size=3, channels=8),
    "ClM": ALL_SAID[1],
}


@pytest.mark.parametrize(
    ("encoder", "architecture"), [(e, a) for e, (a, c) in product(PLAIN, TOLD_IN_BFLOAT16.items()) if takes(e, c)]
)
def test_every_family_trains_in_bfloat16_under_conditions(encoder, architecture):
    c = TOLD_IN_BFLOAT16[architecture]
    net = wake(getattr(architectures, architecture)(backbone(encoder, 2, in_channels=2, conditioning=c)))
    given = {"timesteps": None, "context": None, **condition_inputs(c)}
    with torch.autocast("cpu", torch.bfloat16):
        out = net(image(2, 2), **given)
    loss = sum(t.float().square().mean() for t in (out if isinstance(out, list) else [out]))
    loss.backward()
    assert all(p.grad.isfinite().all() for p in net.parameters())
    whole = net.eval()(image(2, 2), **given)
    with torch.autocast("cpu", torch.bfloat16):
        assert net(image(2, 2), **given).shape == whole.shape


def test_a_condition_is_dropped_for_a_random_subset_of_a_batch_and_not_for_the_whole():
    """With the condition's whole way through a network: some outputs are those of no condition, and some are not."""
    c = ConditioningConfig(context="class", context_size=3, channels=8, drop=0.5)
    net = wake(backbone("ViT", 2, conditioning=c))  # no norm over the batch
    x, label = image(2, batch=1).expand(32, -1, -1, -1), torch.ones(32, dtype=torch.long)
    outputs = net.train()(x, None, label).output
    net.eval()
    lost = [torch.allclose(out, net(x[:1], None, -label[:1]).output[0], atol=1e-5) for out in outputs]
    given = [torch.allclose(out, net(x[:1], None, label[:1]).output[0], atol=1e-5) for out in outputs]
    assert 5 < sum(lost) < 27
    assert sum(lost) + sum(given) == 32
    assert not any(a and b for a, b in zip(lost, given))


@pytest.mark.parametrize("encoder", ENCODERS)
def test_an_unconditional_network_has_no_module_of_conditions(encoder):
    net = architectures.HSeM(backbone(encoder, 2))
    assert net.backbone.conditions is None
    assert [name for name, _ in net.named_modules() if "inject" in name or "condition" in name] == []
    seen = []
    for module in net.modules():
        if isinstance(module, Stage):
            module.register_forward_pre_hook(lambda _, inputs: seen.append(len(inputs)))
    net(image(2))
    assert set(seen) == {1}


@pytest.mark.parametrize("encoder", ENCODERS)
def test_every_block_of_every_stage_receives_the_time_and_the_context(encoder):
    net = backbone(encoder, 2, conditioning=CLASS)
    for half in net.encoder, net.decoder:
        for stage in (module for module in half.modules() if isinstance(module, Stage)):
            injected = [isinstance(i, BlockInjection) and None not in (i.time, i.context) for i in stage.injections]
            assert injected == [channels > 0 for channels in stage.injection_channels]


def test_a_side_of_another_family_is_checked_by_its_own_norm():
    c = ConditioningConfig(context="class", context_size=3, channels=8, injection="bias", side="encoder")
    instance, group = ConvFamily(norm="instance"), ConvFamily(norm="group", num_groups=4)
    backbone("UNet", 2, family=group, decoder_family=instance, conditioning=c)
    message = "injection='bias' has no effect: .* the norm of the encoder's ConvFamily subtracts each"
    with pytest.raises(ValueError, match=message):
        backbone("UNet", 2, family=instance, decoder_family=group, conditioning=c)


@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_numbers_that_describe_a_sample_are_a_context(spatial_dims):
    torch.manual_seed(0)
    conditioning = ConditioningConfig(context="vector", context_size=2, channels=8)
    network = UNet(
        spatial_dims, 1, 2, channels=[8, 8], middle_channels=[8], patch_channels=8, conditioning=conditioning
    ).eval()
    for module in network.modules():  # injections begin as nothing
        if isinstance(module, FiLM):
            torch.nn.init.normal_(module.proj.weight)
    image = torch.randn(2, 1, *[16] * spatial_dims)
    young, old = torch.tensor([[0.2, 0.5]] * 2), torch.tensor([[0.9, 0.5]] * 2)
    outputs = [network(image, context=vector).output for vector in (young, old, torch.full((2, 2), torch.nan))]
    assert not torch.allclose(outputs[0], outputs[1])
    network.conditions.context.null_embedding.data += 1.0
    torch.testing.assert_close(network(image, context=young).output, outputs[0])
    assert not torch.allclose(network(image, context=torch.full((2, 2), torch.nan)).output, outputs[2])  # that of none
    older = {key: value for key, value in network.state_dict().items() if not key.endswith((".mean", ".std"))}
    assert len(older) == len(network.state_dict()) - 2
    network.conditions.standardize([0.5, 0.5], [0.1, 0.1])
    assert not torch.allclose(network(image, context=young).output, outputs[0])
    network.load_state_dict(older)  # which version 0.6 saved: its numbers were taken as they are
    torch.testing.assert_close(network(image, context=young).output, outputs[0])
    with pytest.raises(ValueError, match=r"a context 'vector' for 2 images of size .* has \(2, 2\)"):
        network(image, context=torch.ones(2, 3))

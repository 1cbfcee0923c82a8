"""Label maps of whole images are those of all scores, and are made without them."""

from __future__ import annotations

import itertools
import logging
from typing import Any

import pytest
import torch
from monai.data import MetaTensor
from torch.utils._python_dispatch import TorchDispatchMode

from flemme_monai.inferers import Ensemble, WindowInferer
from flemme_monai.utils import progress
from flemme_monai.utils.progress import StepProgress

SHAPES = [
    (3, (40, 33, 50), (16, 20, 16)),
    (3, (10, 33, 50), (16, 16, 16)),
    (3, (16, 16, 16), (16, 16, 16)),
    (2, (40, 33), (16, 16)),
    (2, (9, 40), (16, 16)),
    (2, (40, 33, 21), (16, 16)),
    (2, (10, 16, 21), (16, 16)),
]


def network(dims: int, classes: int = 5) -> torch.nn.Module:
    conv = torch.nn.Conv2d if dims == 2 else torch.nn.Conv3d
    return torch.nn.Sequential(conv(1, 4, 3, padding=1), torch.nn.ReLU(), conv(4, classes, 3, padding=1))


@pytest.mark.parametrize(("dims", "size", "roi_size"), SHAPES)
def test_the_labels_are_those_of_the_highest_scores_of_the_whole_image(dims, size, roi_size):
    image, net = torch.rand(2, 1, *size), network(dims)
    for overlap, mode, batch in itertools.product((0, 0.25, 0.7), ("gaussian", "constant"), (1, 4)):
        settings = {"sw_batch_size": batch, "overlap": overlap, "mode": mode, "spatial_dims": dims}
        with torch.no_grad():
            scores = WindowInferer(roi_size, **settings)(image, net)
        labels = WindowInferer(roi_size, **settings, argmax=True)(image, net)
        assert labels.dtype == torch.uint8
        assert torch.equal(labels, scores.argmax(1, keepdim=True).byte())


class Largest(TorchDispatchMode):
    """The number of values of the largest tensor that any operation gives."""

    values = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        self.values = max(self.values, out.numel() if isinstance(out, torch.Tensor) else 0)
        return out


@pytest.mark.parametrize(("dims", "roi_size"), [(3, (8, 8, 8)), (2, (8, 8))])
def test_no_tensor_has_a_channel_per_class_of_the_whole_image(dims, roi_size):
    image, classes = torch.rand(1, 1, 16, 12, 64), 32
    with Largest() as largest:
        WindowInferer(roi_size, spatial_dims=dims, argmax=True)(image, network(dims, classes))
    assert largest.values <= classes * image.numel() / 4


def test_labels_keep_the_meta_data_and_have_room_for_many_classes():
    image = MetaTensor(torch.rand(1, 1, 16, 16), meta={"filename_or_obj": "a.png"})
    labels = WindowInferer(8, argmax=True)(image, network(2, 300))
    assert labels.meta["filename_or_obj"] == "a.png"
    assert labels.dtype == torch.int32
    assert labels.max() > 255


@pytest.mark.parametrize(("mirror", "flips"), [(True, [(), (2,), (3,), (2, 3)]), ("true", [(), (2,), (3,), (2, 3)])])
@pytest.mark.parametrize("argmax", [False, True])
def test_probabilities_of_flipped_windows_are_averaged(mirror, flips, argmax):
    image, net = torch.rand(1, 1, 8, 8), network(2)
    with torch.no_grad():
        expected = sum(net(image.flip(dims)).flip(dims).softmax(1) for dims in flips) / len(flips)
        output = WindowInferer(8, mirror=mirror, softmax=True, argmax=argmax)(image, net)
    if argmax:
        assert torch.equal(output, expected.argmax(1, keepdim=True).byte())
    else:
        assert torch.allclose(output.softmax(1), expected, atol=1e-6)


@pytest.mark.parametrize(("mirror", "dims"), [([1], (3,)), ((1,), (3,)), (0, (2,))])
def test_values_of_windows_flipped_along_one_axis_are_averaged(mirror, dims):
    image, net = torch.rand(1, 1, 8, 8), network(2)
    with torch.no_grad():
        output = WindowInferer(8, mirror=mirror)(image, net)
        assert torch.allclose(output, (net(image) + net(image.flip(dims)).flip(dims)) / 2, atol=1e-6)


@pytest.mark.parametrize("mirror", [False, "false", [], ()])
def test_without_axes_nothing_is_flipped(mirror):
    assert WindowInferer(8, mirror=mirror).mirror == ()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"mirror": [2]}, r"mirror is \[2\]; expected true, false or a list of different axes of 0, 1"),
        ({"mirror": [0, 0]}, "mirror is"),
        ({"mirror": "both"}, "'both' is no switch"),
        ({"overlap": 1.0}, "overlap is 1.0; expected a share from 0 to below 1"),
        ({"sw_batch_size": 0}, "sw_batch_size is 0; expected at least 1"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        WindowInferer(8, **settings)


class Logits(torch.nn.Module):
    """Takes what networks of this collection take."""

    def __init__(self) -> None:
        super().__init__()
        self.net = network(2)

    def forward(self, x, timesteps=None, context=None):
        return self.net(x)


def test_an_ensemble_gives_the_mean_of_its_networks_probabilities():
    image, networks = torch.rand(2, 1, 8, 8), [Logits(), Logits(), Logits()]
    with torch.no_grad():
        mean = sum(net(image).softmax(1) for net in networks) / 3
        assert torch.allclose(Ensemble(networks)(image).softmax(1), mean, atol=1e-6)
        alike = Ensemble([networks[0]] * 2)(image).softmax(1)
        assert torch.allclose(alike, networks[0](image).softmax(1), atol=1e-6)


def test_windows_of_an_image_are_counted_in_lines_where_there_is_no_terminal(monkeypatch, caplog):
    caplog.set_level(logging.INFO, logger="flemme_monai")
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0.0)
    image = torch.rand(1, 1, 8, 8, 3)
    for argmax in (False, True):
        caplog.clear()
        WindowInferer(8, sw_batch_size=1, argmax=argmax, progress=True)(image, network(2))
        assert [line.partition(",")[0] for line in caplog.messages] == [f"windows: {n} of 3" for n in (1, 2, 3)]
        assert caplog.messages[-1] == "windows: 3 of 3, 0:00 left"
    caplog.clear()
    WindowInferer(8)(image, network(2))
    assert caplog.messages == []


def test_the_time_left_is_that_of_the_steps_so_far(monkeypatch, caplog):
    caplog.set_level(logging.INFO, logger="flemme_monai")
    clock = iter([0.0, 10.0, 61.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    with StepProgress(100, "windows") as steps:
        steps.update(2)
        steps.update(18)
    assert caplog.messages == ["windows: 20 of 100, 4:04 left"]

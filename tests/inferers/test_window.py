"""Windows put an image of any size together again."""

from __future__ import annotations

import pytest
import torch
from monai.data import MetaTensor

from flemme_monai.inferers import WindowInferer


def double(x):
    """Two channels, the second a multiple of the first; refuses what is no window of 16."""
    assert x.shape[2:] == (16,) * (x.ndim - 2)
    return torch.cat([x, 3 * x], 1)


@pytest.mark.parametrize(
    ("size", "spatial_dims"), [((16, 16), 2), ((9, 40), 2), ((33, 17), 2), ((20, 16, 9), 3), ((20, 24, 5), 2)]
)
def test_any_size_is_covered(size, spatial_dims):
    image = torch.rand(2, 1, *size)
    output = WindowInferer([16] * spatial_dims, spatial_dims=spatial_dims)(image, double)
    assert torch.allclose(output, torch.cat([image, 3 * image], 1), atol=1e-5)


def test_a_2d_network_sees_the_slices_of_a_volume_one_by_one():
    volume = torch.arange(5.0).expand(1, 1, 16, 16, 5)
    seen = []

    def network(x):
        seen.extend(x.mean((1, 2, 3)).tolist())
        return x

    WindowInferer(16)(volume, network)
    assert seen == pytest.approx([0, 1, 2, 3, 4])


def test_the_volume_keeps_its_meta_data():
    volume = MetaTensor(torch.rand(1, 1, 16, 16, 3), meta={"filename_or_obj": "a.nii.gz"})
    output = WindowInferer(16)(volume, double)
    assert output.meta["filename_or_obj"] == "a.nii.gz"


def test_a_window_of_other_axes_is_refused():
    with pytest.raises(ValueError, match=r"roi_size .* has 3 axes and the network works on 2"):
        WindowInferer([16, 16, 16], spatial_dims=2)

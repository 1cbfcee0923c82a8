"""Windows receive the context of their image."""

from __future__ import annotations

import pytest
import torch

from flemme_monai.inferers import WindowInferer


def conditional(x, context):
    """Each window's context in the place of its values."""
    assert len(context) == len(x)
    return x * 0 + context.float().view(-1, *[1] * (x.ndim - 1))


@pytest.mark.parametrize(("size", "spatial_dims"), [((40, 40), 2), ((20, 24, 5), 2), ((20, 16, 40), 3)])
@pytest.mark.parametrize("shape", [(3,), (3, 1)])
def test_each_image_of_a_batch_has_its_own(size, spatial_dims, shape):
    context = torch.tensor([4, 0, 7]).view(shape)
    found = WindowInferer(16, 4, spatial_dims=spatial_dims)(torch.rand(3, 1, *size), conditional, context=context)
    assert found.shape == (3, 1, *size)
    torch.testing.assert_close(found, context.float().view(-1, *[1] * (1 + len(size))).expand_as(found))


def test_fewer_contexts_than_images_are_refused():
    with pytest.raises(ValueError, match="shorter"):
        WindowInferer(16)(torch.rand(2, 1, 16, 16), conditional, context=torch.zeros(1))

"""Orders of a scan: each meets every token once, and merging puts all back."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch._subclasses.fake_tensor import FakeTensorMode

from flemme_monai.blocks import SCANS, num_orders, scan_order, scan_orders
from flemme_monai.blocks.scan_order import _cached_tables, gather_by_order, gather_tokens, merge_scans, scan_tables

SIZES = st.lists(st.integers(1, 9), min_size=2, max_size=3)


@given(size=SIZES, scan=st.sampled_from(SCANS), flip=st.booleans())
def test_an_order_meets_every_token_once(size, scan, flip):
    orders = scan_orders(size, scan, flip)
    tokens = torch.arange(orders.shape[1])
    assert orders.shape == (num_orders(len(size), scan, flip), torch.Size(size).numel())
    assert all(torch.equal(order.sort().values, tokens) for order in orders)


@given(size=SIZES, scan=st.sampled_from(SCANS), flip=st.booleans())
def test_merging_undoes_scanning(size, scan, flip):
    orders, inverses = scan_tables(size, scan, flip, torch.device("cpu"))
    x = torch.randn(2, orders.shape[1], 3)
    merged = merge_scans(gather_tokens(x, orders), inverses)
    torch.testing.assert_close(merged, len(orders) * x)


def test_features_of_each_order_are_put_in_that_order():
    orders, _ = scan_tables([3, 4], "cross", True, torch.device("cpu"))
    x = torch.randn(2, 12, 4, 5)
    rows = gather_by_order(x, orders)
    for k, order in enumerate(orders):
        assert torch.equal(rows[:, k], x[:, order, k])


def test_orders_of_a_small_image():
    """Tokens 0 1 2 / 3 4 5."""
    assert scan_orders([2, 3], "single", False).tolist() == [[0, 1, 2, 3, 4, 5]]
    assert scan_orders([2, 3], "cross", False).tolist() == [[0, 1, 2, 3, 4, 5], [0, 3, 1, 4, 2, 5]]
    assert scan_orders([2, 3], "snake", False).tolist() == [[0, 1, 2, 5, 4, 3], [0, 3, 4, 1, 2, 5]]
    assert scan_orders([2, 3], "single", True).tolist() == [[0, 1, 2, 3, 4, 5], [5, 4, 3, 2, 1, 0]]
    assert scan_orders([2, 2], "hilbert", False).tolist() == [[0, 1, 3, 2]]


def test_a_local_scan_finishes_a_window_before_the_next():
    order = scan_orders([6, 8], "local", False)[0]
    windows = order // 8 // 4 * 2 + order % 8 // 4
    assert windows.tolist() == sorted(windows.tolist())


@pytest.mark.parametrize(("scan", "count"), [("single", 1), ("simplified", 2), ("cross", 6)])
def test_volumes_are_scanned_in_one_two_or_all_orders_of_their_axes(scan, count):
    orders = scan_orders([2, 3, 4], scan, False)
    assert len({tuple(order.tolist()) for order in orders}) == len(orders) == count


@pytest.mark.parametrize("scan", ["snake", "hilbert"])
@pytest.mark.parametrize("size", [(8, 8), (4, 4, 4)])
def test_neighbours_in_these_scans_are_neighbours_in_the_image(scan, size):
    for order in scan_orders(list(size), scan, False):
        places = torch.stack(torch.unravel_index(order, size))
        assert places.diff(dim=1).abs().sum(0).eq(1).all()


def test_tables_are_made_once_for_each_size(monkeypatch):
    _cached_tables.cache_clear()
    sizes = []
    monkeypatch.setattr(scan_order, "scan_orders", lambda *args: sizes.append(args[0]) or scan_orders(*args))
    for size in ([5, 7], [7, 5], [5, 7]):
        scan_tables(size, "cross", True, torch.device("cpu"))
    assert sizes == [[5, 7], [7, 5]]


def test_another_scan_is_refused():
    with pytest.raises(ValueError, match="scan is zigzag"):
        scan_orders([2, 3], "zigzag", False)


def test_tables_without_data_have_their_shapes():
    with FakeTensorMode():
        orders, inverses = scan_tables([4, 5], "cross", True, torch.device("cpu"))
    assert orders.shape == inverses.shape == (4, 20)
    assert type(scan_tables([4, 5], "cross", True, torch.device("cpu"))[0]) is torch.Tensor

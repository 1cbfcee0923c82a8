"""Orders in which a scan walks over an image: index tables, and their inverses.

Glossary: s size of the feature along each axis, L tokens (the product of s), K orders.
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch

from ..ops.exported import are_nodes_whole

SCANS = ("single", "simplified", "cross", "snake", "local", "hilbert")


def num_orders(spatial_dims: int, scan: str, flip: bool) -> int:
    """K, the number of orders that :func:`scan_orders` gives."""
    count = len(axis_orders(spatial_dims, scan))
    return 2 * count if flip else count


def axis_orders(spatial_dims: int, scan: str) -> list[list[int]]:
    """The axes of each order, slowest first."""
    forth = list(range(spatial_dims))
    if scan in ("single", "hilbert"):
        return [forth]
    if scan == "cross" and spatial_dims == 3:
        return [[0, 1, 2], [2, 1, 0], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1]]
    if scan in ("simplified", "cross", "snake", "local"):
        return [forth, forth[::-1]]
    raise ValueError(f"scan is {scan}; expected single, simplified, cross, snake, local or hilbert.")


def scan_orders(size: list[int], scan: str, flip: bool) -> torch.Tensor:
    """The tokens, numbered row by row, in the order in which each scan meets them.

    ``single`` goes row by row; ``simplified`` also with the order of the axes reversed; ``cross`` with every order of
    the axes (2D: rows and columns; 3D: six); ``snake`` as ``simplified``, but every second row backwards, so that
    neighbours in the scan are neighbours in the image; ``local`` in windows of four tokens along each axis (LocalMamba,
    Huang et al. 2024); ``hilbert`` along a Hilbert curve.

    Args:
        size: size of the feature along each axis.
        scan: one of ``SCANS``.
        flip: whether each order is walked backwards too.

    Returns:
        (K, L) token numbers; each row is a permutation.
    """
    tokens = 1
    for n in size:
        tokens *= n
    number = torch.arange(tokens).view(size)
    rows: list[torch.Tensor] = []
    for axes in axis_orders(len(size), scan):
        if scan == "hilbert":
            rows.append(_hilbert(size))
        elif scan == "snake":
            rows.append(_snake(number.permute(axes)))
        elif scan == "local":
            rows.append(_local(number.permute(axes), 4))
        else:
            rows.append(number.permute(axes).flatten())
    order = torch.stack(rows)
    return torch.cat([order, order.flip(1)]) if flip else order


def _snake(number: torch.Tensor) -> torch.Tensor:
    """Each axis but the slowest turns back at its end."""
    for axis in range(1, number.dim()):
        # how many steps the slower axes have made decides the direction
        steps = torch.zeros([1] * number.dim(), dtype=torch.long)
        for slower in range(axis):
            shape = [1] * number.dim()
            shape[slower] = number.shape[slower]
            steps = steps * number.shape[slower] + torch.arange(number.shape[slower]).view(shape)
        number = torch.where(steps % 2 == 1, number.flip(axis), number)
    return number.flatten()


def _local(number: torch.Tensor, side: int) -> torch.Tensor:
    """Windows of that side in rows, and tokens in rows inside each; at the borders windows are cut."""
    window = torch.zeros([1] * number.dim(), dtype=torch.long)
    inside = torch.zeros([1] * number.dim(), dtype=torch.long)
    for axis in range(number.dim()):
        shape = [1] * number.dim()
        shape[axis] = number.shape[axis]
        place = torch.arange(number.shape[axis]).view(shape)
        window = window * number.shape[axis] + place // side
        inside = inside * side + place % side
    key = (window * side ** number.dim() + inside).expand(number.shape).flatten()
    return number.flatten()[key.argsort()]


def _hilbert(size: list[int]) -> torch.Tensor:
    """Hilbert curves (Skilling 2004) of cubes that cover the shortest axis, cube by cube as a snake."""
    dims, bits = len(size), 1
    while 1 << bits < min(size):
        bits += 1
    place = torch.zeros(1 << (bits * dims), dtype=torch.long)  # on the curve, of each token of a cube
    token = torch.zeros_like(place)
    for x in _hilbert_axes(dims, bits):
        token = (token << bits) + x
    place[token] = torch.arange(len(place))
    side = 1 << bits
    grid = [(n + side - 1) // side for n in size]
    cubes = 1
    for n in grid:
        cubes *= n
    rank = _snake(torch.arange(cubes).view(grid)).argsort()
    cube = torch.zeros([1] * dims, dtype=torch.long)
    inside = torch.zeros([1] * dims, dtype=torch.long)
    for axis in range(dims):
        shape = [1] * dims
        shape[axis] = size[axis]
        x = torch.arange(size[axis]).view(shape)
        cube = cube * grid[axis] + x // side
        inside = inside * side + x % side
    return (rank[cube.flatten()] * len(place) + place[inside.flatten()]).argsort()


def _hilbert_axes(dims: int, bits: int) -> list[torch.Tensor]:
    """The coordinates, axis by axis, of all points along the Hilbert curve of a cube of 2**bits points per side."""
    index = torch.arange(1 << (bits * dims))
    x: list[torch.Tensor] = []
    for axis in range(dims):  # the index's bits are dealt to the axes
        part = torch.zeros_like(index)
        for bit in range(bits):
            part = part | (((index >> (bit * dims + dims - 1 - axis)) & 1) << bit)
        x.append(part)
    last = x[dims - 1] >> 1
    for axis in range(dims - 1, 0, -1):
        x[axis] = x[axis] ^ x[axis - 1]
    x[0] = x[0] ^ last
    for bit in range(1, bits):
        low = (1 << bit) - 1
        for axis in range(dims - 1, -1, -1):
            swap = (x[0] ^ x[axis]) & low
            high = ((x[axis] >> bit) & 1) == 1
            x[axis] = torch.where(high, x[axis], x[axis] ^ swap)
            x[0] = torch.where(high, x[0] ^ low, x[0] ^ swap)
    return x


@lru_cache(maxsize=16)
def _cached_tables(size: tuple[int, ...], scan: str, flip: bool, device: str) -> tuple[torch.Tensor, torch.Tensor]:
    with torch.inference_mode(False):  # a later training step uses them too
        orders = scan_orders(list(size), scan, flip)
        return orders.int().to(device), orders.argsort(1).int().to(device)


@torch.library.custom_op("flemme_monai::scan_tables", mutates_args=())
def _tables(size: list[int], scan: str, flip: bool, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """The tables as one node of a compiled graph, whose compiler would else fuse all arithmetic of a curve."""
    orders, inverses = _cached_tables(tuple(size), scan, flip, str(device))
    return orders.clone(), inverses.clone()


@_tables.register_fake
def _(size, scan, flip, device):
    shape = (num_orders(len(size), scan, flip), math.prod(size))
    return tuple(torch.empty(shape, dtype=torch.int, device=device) for _ in range(2))


def scan_tables(size: list[int], scan: str, flip: bool, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """The orders (K, L) of :func:`scan_orders`, and their inverses (K, L), cached by size outside exported programs."""
    if not torch.jit.is_scripting():
        if torch.jit.is_tracing():
            if scan == "hilbert":
                size = [int(n) for n in size]  # its cubes depend on the size: the trace is for this one
        elif not torch.compiler.is_exporting() or (are_nodes_whole() and scan in ("single", "simplified", "cross")):
            return _tables(size, scan, flip, device)
    orders = scan_orders(size, scan, flip)
    return orders.int().to(device), orders.argsort(1).int().to(device)


def gather_tokens(x: torch.Tensor, orders: torch.Tensor) -> torch.Tensor:
    """Tokens ``x`` (B, L, C) in every order: (B, K, L, C)."""
    return x.index_select(1, orders.flatten()).view(x.shape[0], orders.shape[0], orders.shape[1], x.shape[2])


def gather_by_order(x: torch.Tensor, orders: torch.Tensor) -> torch.Tensor:
    """Features ``x`` (B, L, K, C), one for each order, each in its order: (B, K, L, C)."""
    count, length = orders.shape
    rows = orders * count + torch.arange(count, device=x.device)[:, None]  # of the flat (L, K)
    return x.flatten(1, 2).index_select(1, rows.flatten()).view(x.shape[0], count, length, x.shape[3])


def merge_scans(y: torch.Tensor, inverses: torch.Tensor) -> torch.Tensor:
    """Features ``y`` (B, K, L, C) of every order put back in place and added: (B, L, C)."""
    count, length = inverses.shape
    rows = inverses + length * torch.arange(count, device=y.device)[:, None]  # of the flat (K, L)
    return y.flatten(1, 2).index_select(1, rows.flatten()).view(y.shape).sum(1)

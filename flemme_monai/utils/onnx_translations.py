"""How the ONNX exporter writes what it would write badly: index tables, scans, and layer norms.

Traced operation by operation, tables and scans take most of an export's time. This imports onnxscript, which only
exports need.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, cast

import onnx_ir as ir
import torch
from onnxscript import FLOAT, INT32, INT64, opset18
from torch.onnx._internal.exporter._torchlib.ops.hop import call_op

from ..blocks.scan_order import axis_orders

op: Any = opset18  # its hints are for the source of a script; the exporter calls these functions with a graph's values


def _sizes(value: Any) -> Sequence[int]:
    """The sizes of a value of a graph, of which onnxscript's hints know none."""
    return value.shape


def _vector(numbers: Sequence[INT64 | int]) -> INT64:
    """Whole numbers, some of them known to the graph only, as a vector."""
    return op.Concat(*(op.Reshape(n, op.Constant(value_ints=[-1])) for n in numbers), axis=0)


def window_tables(
    size: Sequence[INT64], window: Sequence[int], shifted: bool, device: str
) -> tuple[INT64, INT64, INT64]:
    """See :func:`flemme_monai.blocks.swin.window_tables`: axis by axis over padded places, then cut into windows."""
    dims, places = len(size), None
    cut: list[INT64 | int] = []  # (m1, w1, m2, w2, ...)
    for n, w in zip(size, window):
        count = op.Div(op.Add(n, w - 1), w)
        padded = op.Mul(count, w)
        place, position = op.Range(0, padded, 1), op.Range(0, n, 1)
        label = op.Cast(op.GreaterOrEqual(place, op.Sub(padded, w)), to=ir.DataType.INT64)
        source, back = place, position
        if shifted:
            shift = op.Mul(op.Cast(op.Greater(count, 1), to=ir.DataType.INT64), w // 2)
            border = op.GreaterOrEqual(place, op.Sub(padded, shift))
            label = op.Add(label, op.Cast(border, to=ir.DataType.INT64))
            source = op.Mod(op.Add(place, shift), padded)
            back = op.Mod(op.Sub(position, shift), padded)
        label = op.Where(op.GreaterOrEqual(source, n), 3, label)
        source = op.Min(source, op.Sub(n, 1))
        block, inside = op.Div(back, w), op.Mod(back, w)
        cut += [count, w]
        if places is None:
            tokens, regions, places, within = source, label, block, inside
            continue
        last = op.Constant(value_ints=[-1])
        tokens = op.Add(op.Mul(op.Unsqueeze(tokens, last), n), source)
        regions = op.Add(op.Mul(op.Unsqueeze(regions, last), 4), label)
        places = op.Add(op.Mul(op.Unsqueeze(places, last), count), block)
        within = op.Add(op.Mul(op.Unsqueeze(within, last), w), inside)
    total, shape = math.prod(window), _vector(cut)
    order = [2 * axis for axis in range(dims)] + [2 * axis + 1 for axis in range(dims)]

    def windows(x: INT64) -> INT64:
        return op.Reshape(op.Transpose(op.Reshape(x, shape), perm=order), op.Constant(value_ints=[-1, total]))

    places = op.Reshape(op.Add(op.Mul(places, total), within), op.Constant(value_ints=[-1]))
    return windows(tokens), places, windows(regions)


def table_attention(qkv: FLOAT, bias: FLOAT, tokens: INT64, places: INT64, regions: INT64, num_heads: int) -> FLOAT:
    """See :func:`flemme_monai.blocks.swin.table_attention`."""
    channels, count = _sizes(qkv)[-1] // 3, _sizes(bias)[-1]
    width = channels // num_heads
    axes = len(_sizes(qkv)) - 1
    rows = op.Reshape(qkv, op.Constant(value_ints=[0, -1, 3 * channels]))  # (B, L, 3C)
    x = op.Gather(rows, op.Reshape(tokens, op.Constant(value_ints=[-1])), axis=1)
    x = op.Reshape(x, op.Constant(value_ints=[0, -1, count, 3, num_heads, width]))
    parts = op.Split(op.Transpose(x, perm=[3, 0, 1, 4, 2, 5]), num_outputs=3, axis=0)
    q, k, v = (op.Squeeze(part, op.Constant(value_ints=[0])) for part in parts)  # (B, M, h, N, C / h)
    columns, lines = (op.Unsqueeze(regions, op.Constant(value_ints=axes)) for axes in ([1, 2], [1, 3]))
    together = op.Equal(columns, lines)  # (M, 1, N, N)
    weight = op.Add(op.Mul(op.MatMul(q, op.Transpose(k, perm=[0, 1, 2, 4, 3])), width**-0.5), bias)
    weight = op.Softmax(op.Where(together, weight, float("-inf")), axis=-1)
    x = op.Transpose(op.MatMul(weight, v), perm=[0, 1, 3, 2, 4])
    x = op.Gather(op.Reshape(x, op.Constant(value_ints=[0, -1, channels])), places, axis=1)  # (B, L, C)
    shape = op.Concat(op.Shape(qkv, end=axes), op.Constant(value_ints=[channels]), axis=0)
    return op.Reshape(x, shape)


def scan_tables(size: Sequence[INT64], scan: str, flip: bool, device: str) -> tuple[INT32, INT32]:
    """See :func:`flemme_monai.blocks.scan_order.scan_tables`, for orders that are permutations of the axes."""
    length = op.Constant(value_int=1)
    for n in size:
        length = op.Mul(length, n)
    number, flat = op.Range(0, length, 1), op.Constant(value_ints=[1, -1])
    orders, inverses = [], []
    for axes in axis_orders(len(size), scan):
        back = [axes.index(axis) for axis in range(len(size))]
        orders.append(op.Reshape(op.Transpose(op.Reshape(number, _vector(size)), perm=axes), flat))
        turned = op.Reshape(number, _vector([size[axis] for axis in axes]))
        inverses.append(op.Reshape(op.Transpose(turned, perm=back), flat))
    if flip:
        backwards = [op.Constant(value_ints=[i]) for i in (-1, -(2**63), 1, -1)]  # start, end, axis, step
        orders += [op.Slice(order, *backwards) for order in orders]
        inverses += [op.Sub(op.Sub(length, 1), inverse) for inverse in inverses]
    tables = (op.Concat(*rows, axis=0) for rows in (orders, inverses))
    return tuple(op.Cast(table, to=ir.DataType.INT32) for table in tables)


def exported_scan(u: FLOAT, delta: FLOAT, A: FLOAT, B: FLOAT, C: FLOAT, first: FLOAT) -> tuple[FLOAT, FLOAT]:
    """See :func:`flemme_monai.ops.reference.forward`: one Scan along the steps."""
    # what the hints call by its content are values of a graph
    rates, *sequences = cast("tuple[ir.Value, ...]", (A, first, delta, op.Mul(delta, u), B, C))
    kind = ir.TensorType(u.dtype)
    names = ("h", "dt", "x", "B", "C")  # (Z, G, W, N), (Z, G, W) twice, (Z, G, N) twice
    ranks = (4, 3, 3, 3, 3)
    inputs = [ir.Value(name=name, type=kind, shape=ir.Shape([None] * rank)) for name, rank in zip(names, ranks)]
    h, dt, x, b, c = inputs
    nodes: list[ir.Node] = []

    def node(kind: str, *values: ir.Value, **attributes: int) -> ir.Value:
        nodes.append(ir.node(kind, values, attributes))
        return nodes[-1].outputs[0]

    last, row = (op.Constant(value_ints=[axis]) for axis in (-1, 2))
    decay = node("Exp", node("Mul", node("Unsqueeze", dt, last), rates))
    new = node("Mul", node("Unsqueeze", x, last), node("Unsqueeze", b, row))
    state = node("Add", node("Mul", decay, h), new)
    y = node("ReduceSum", node("Mul", state, node("Unsqueeze", c, row)), last, keepdims=0)
    for value, name, rank in ((state, "state", 4), (y, "y", 3)):
        value.name, value.type, value.shape = name, kind, ir.Shape([None] * rank)
    body = ir.Graph(inputs, [state, y], nodes=nodes, name="step")
    found = call_op(
        "Scan",
        *sequences,
        _num_outputs=2,
        body=body,
        num_scan_inputs=4,
        scan_input_axes=[2] * 4,
        scan_output_axes=[2],
    )
    last_state, outputs = cast("tuple[FLOAT, FLOAT]", found)
    return outputs, last_state


def layer_norm(
    x: FLOAT,
    normalized_shape: Sequence[int],
    weight: FLOAT | None = None,
    bias: FLOAT | None = None,
    eps: float = 1e-5,
    cudnn_enable: bool = True,
) -> FLOAT:
    """Layer norm of values whose mean is taken off first.

    onnxruntime takes the variance as the mean square less the squared mean, which cancels where the mean is large.
    """
    axes = list(range(-len(normalized_shape), 0))
    centred = op.Sub(x, op.ReduceMean(x, op.Constant(value_ints=axes)))
    return op.LayerNormalization(centred, weight, bias, axis=axes[0], epsilon=eps)[0]


def refuse_other_sizes(model: ir.Model, divisor: Sequence[int]) -> None:
    """Let a graph fail at images whose size is no multiple of ``divisor``, where some would give numbers.

    ONNX has no assertion: the image is reshaped to whole blocks and back, by a node whose name is the error's text.
    """
    if max(divisor) == 1:
        return
    graph = model.graph
    image = graph.inputs[0]
    uses = list(image.uses())
    nodes: list[ir.Node] = []

    def node(kind: str, *values: ir.Value, name: str | None = None, **attributes: int | ir.TensorProtocol) -> ir.Value:
        nodes.append(ir.node(kind, values, attributes, name=name or f"sizes_{len(nodes)}"))
        nodes[-1].outputs[0].name = f"sizes_{len(nodes)}"
        return nodes[-1].outputs[0]

    shape, cut = node("Shape", image), [node("Shape", image, end=2)]
    for axis, d in enumerate(divisor, start=2):
        side = node("Constant", value=ir.tensor([d]))
        cut += [node("Div", node("Shape", image, start=axis, end=axis + 1), side), side]
    rule = f"sizes must be multiples of {' x '.join(map(str, divisor))}"
    blocks = node("Reshape", image, node("Concat", *cut, axis=0), name=rule)
    checked = node("Reshape", blocks, shape)
    checked.type, checked.shape = image.type, image.shape
    for use in uses:
        use.node.replace_input_with(use.idx, checked)
    graph.insert_before(graph[0], nodes)


TRANSLATIONS: dict[Callable, Callable] = {
    torch.ops.flemme_monai.window_tables.default: window_tables,
    torch.ops.flemme_monai.table_attention.default: table_attention,
    torch.ops.flemme_monai.scan_tables.default: scan_tables,
    torch.ops.flemme_monai.exported_scan.default: exported_scan,
    torch.ops.aten.layer_norm.default: layer_norm,
}

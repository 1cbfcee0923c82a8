"""Compiled loops of the selective scan for CPUs: one task is one image's block of channels.

Channels are innermost and every inner loop runs over the ``WIDTH`` channels of a block, so that the compiler makes
vector instructions of it. Nothing here allocates by the length of the scan, so a task's memory stays in the cache.

Glossary: L steps, G groups of channels, N states per channel, T steps of a chunk, W channels of a block; h state,
a = exp(delta A), e = delta A log2(e).
"""

from __future__ import annotations

import numba
import numpy as np
from numba import boolean, float32, int32, int64, void

WIDTH = 32
LOG2_E = np.float32(1.4426950408889634)
LN_2 = np.float32(0.6931471805599453)
_FAST = {"contract", "reassoc", "nsz", "arcp"}  # NaN and infinity keep their meaning


@numba.njit(inline="always")
def _exp2(x):
    """2**x by a polynomial (relative error 2e-7); below -126.5 it is 0, from 127.5 on infinity."""
    x = min(max(x, float32(-127.0)), float32(128.0))
    whole = np.floor(x + float32(0.5))
    f = x - whole  # -0.5 to 0.5; the Taylor coefficients ln(2)^k / k!, the last two fitted
    p = float32(1.5403530e-4) * f + float32(1.3333558e-3)
    p = p * f + float32(9.6181291e-3)
    p = p * f + float32(5.5504109e-2)
    p = p * f + float32(2.4022651e-1)
    p = p * f + float32(6.9314718e-1)
    p = p * f + float32(1.0)
    return p * np.int32((int32(whole) + int32(127)) << int32(23)).view(np.float32)


@numba.njit(inline="always")
def _softplus(x):
    """log(1 + exp(x)) and its derivative, the sigmoid."""
    z = _exp2(-abs(x) * LOG2_E)
    s = z / (float32(2.0) + z)  # log1p(z) = 2 atanh(s), s at most 1/3
    q = s * s
    p = float32(1 / 15) * q + float32(1 / 13)
    p = p * q + float32(1 / 11)
    p = p * q + float32(1 / 9)
    p = p * q + float32(1 / 7)
    p = p * q + float32(1 / 5)
    p = p * q + float32(1 / 3)
    p = p * q + float32(1.0)
    r = float32(1.0) / (float32(1.0) + z)
    return max(x, float32(0.0)) + float32(2.0) * s * p, (r if x >= float32(0.0) else z * r)


_2D, _3D, _4D, _5D = float32[:, ::1], float32[:, :, ::1], float32[:, :, :, ::1], float32[:, :, :, :, ::1]
_INPUTS = (_4D, _4D, _3D, _4D, _4D, _2D, _2D, boolean)  # u to softplus
_OPTIONS = {"nogil": True, "cache": True, "fastmath": _FAST, "error_model": "numpy", "boundscheck": False}


@numba.njit(void(*_INPUTS, _4D, _5D, *(int64,) * 5), **_OPTIONS)
def forward(u, delta, A, B, C, D, bias, softplus, y, chunk_states, chunk, image, group, first, count):
    """Scan one block of channels of one image."""
    if image < 0 or group < 0 or first < 0 or count < 0 or count > WIDTH:
        raise ValueError("no such block")  # never; tells the compiler that it may vectorise by these indices
    length, states = B.shape[2], B.shape[3]
    decay = np.zeros((states, WIDTH), np.float32)
    h = np.zeros((states, WIDTH), np.float32)
    skip = np.zeros(WIDTH, np.float32)
    offset = np.zeros(WIDTH, np.float32)
    dt = np.zeros(WIDTH, np.float32)
    x = np.zeros(WIDTH, np.float32)
    out = np.zeros(WIDTH, np.float32)
    skip[:count] = D[group, first : first + count]
    offset[:count] = bias[group, first : first + count]
    for n in range(states):
        for w in range(count):
            decay[n, w] = A[group, first + w, n] * LOG2_E
    for t in range(length):
        if t % chunk == 0:
            for n in range(states):
                chunk_states[image, group, t // chunk, n, first : first + count] = h[n, :count]
        for w in range(count):
            dt[w] = delta[image, group, t, first + w]
            x[w] = u[image, group, t, first + w]
        for w in range(WIDTH):
            v = dt[w] + offset[w]
            if softplus:
                v = _softplus(v)[0]
            dt[w] = v
            out[w] = x[w] * skip[w]
            x[w] = x[w] * v
        for n in range(states):
            b = B[image, group, t, n]
            c = C[image, group, t, n]
            for w in range(WIDTH):
                v = _exp2(dt[w] * decay[n, w]) * h[n, w] + b * x[w]
                h[n, w] = v
                out[w] += c * v
        for w in range(count):
            y[image, group, t, first + w] = out[w]
    for n in range(states):
        chunk_states[image, group, chunk_states.shape[2] - 1, n, first : first + count] = h[n, :count]


@numba.njit(
    void(_4D, *_INPUTS, _5D, *(int64,) * 6, _4D, _4D, _4D, _5D, _5D, _3D, _3D),
    **_OPTIONS,
)
def backward(
    dy,
    u,
    delta,
    A,
    B,
    C,
    D,
    bias,
    softplus,
    chunk_states,
    chunk,
    image,
    group,
    block,
    first,
    count,
    du,
    ddelta,
    dA,
    dB,
    dC,
    dD,
    dbias,
):
    """Gradients of one block of channels of one image; states inside a chunk are computed again."""
    if image < 0 or group < 0 or first < 0 or count < 0 or count > WIDTH:
        raise ValueError("no such block")  # never; tells the compiler that it may vectorise by these indices
    length, states = B.shape[2], B.shape[3]
    decay = np.zeros((states, WIDTH), np.float32)
    skip = np.zeros(WIDTH, np.float32)
    offset = np.zeros(WIDTH, np.float32)
    skip[:count] = D[group, first : first + count]
    offset[:count] = bias[group, first : first + count]
    for n in range(states):
        for w in range(count):
            decay[n, w] = A[group, first + w, n] * LOG2_E
    h = np.zeros((chunk + 1, states, WIDTH), np.float32)
    a = np.zeros((chunk, states, WIDTH), np.float32)
    raw = np.zeros((chunk, WIDTH), np.float32)
    dt = np.zeros((chunk, WIDTH), np.float32)
    slope = np.ones((chunk, WIDTH), np.float32)
    x = np.zeros((chunk, WIDTH), np.float32)
    g = np.zeros((states, WIDTH), np.float32)  # gradient of the state, a step later times its decay
    gy = np.zeros(WIDTH, np.float32)
    gx = np.zeros(WIDTH, np.float32)
    gdt = np.zeros(WIDTH, np.float32)
    part = np.zeros((states, WIDTH), np.float32)
    part_skip = np.zeros(WIDTH, np.float32)
    part_offset = np.zeros(WIDTH, np.float32)
    total = np.zeros((states, WIDTH), np.float64)
    total_skip = np.zeros(WIDTH, np.float64)
    total_offset = np.zeros(WIDTH, np.float64)
    for start in range((length - 1) // chunk * chunk, -1, -chunk):
        steps = min(chunk, length - start)
        for n in range(states):
            for w in range(count):
                h[0, n, w] = chunk_states[image, group, start // chunk, n, first + w]
        for i in range(steps):
            for w in range(count):
                dt[i, w] = delta[image, group, start + i, first + w]
                raw[i, w] = u[image, group, start + i, first + w]
            for w in range(WIDTH):
                v = dt[i, w] + offset[w]
                if softplus:
                    v, r = _softplus(v)
                    slope[i, w] = r
                dt[i, w] = v
                x[i, w] = raw[i, w] * v
            for n in range(states):
                b = B[image, group, start + i, n]
                for w in range(WIDTH):
                    v = _exp2(dt[i, w] * decay[n, w])
                    a[i, n, w] = v
                    h[i + 1, n, w] = v * h[i, n, w] + b * x[i, w]
        part[:] = 0.0
        part_skip[:] = 0.0
        part_offset[:] = 0.0
        for i in range(steps - 1, -1, -1):
            t = start + i
            for w in range(count):
                gy[w] = dy[image, group, t, first + w]
            for w in range(WIDTH):
                gx[w] = float32(0.0)
                gdt[w] = float32(0.0)
            for n in range(states):
                b = B[image, group, t, n]
                c = C[image, group, t, n]
                sum_b = float32(0.0)
                sum_c = float32(0.0)
                for w in range(WIDTH):
                    v = g[n, w] + c * gy[w]
                    sum_c += gy[w] * h[i + 1, n, w]
                    sum_b += v * x[i, w]
                    gx[w] += v * b
                    v = v * a[i, n, w]
                    g[n, w] = v
                    e = v * h[i, n, w]
                    gdt[w] += e * decay[n, w]
                    part[n, w] += e * dt[i, w]
                dB[block, image, group, t, n] = sum_b
                dC[block, image, group, t, n] = sum_c
            for w in range(WIDTH):
                part_skip[w] += gy[w] * raw[i, w]
                v = (gdt[w] * LN_2 + gx[w] * raw[i, w]) * slope[i, w]
                part_offset[w] += v
                gdt[w] = v
                gx[w] = gx[w] * dt[i, w] + gy[w] * skip[w]
            for w in range(count):
                du[image, group, t, first + w] = gx[w]
                ddelta[image, group, t, first + w] = gdt[w]
        for n in range(states):
            for w in range(WIDTH):
                total[n, w] += part[n, w]
        for w in range(WIDTH):
            total_skip[w] += part_skip[w]
            total_offset[w] += part_offset[w]
    for w in range(count):
        dD[image, group, first + w] = total_skip[w]
        dbias[image, group, first + w] = total_offset[w]
        for n in range(states):
            dA[image, group, first + w, n] = total[n, w]

"""The Numba kernel that makes the numbers of noise.py on the CPU. Imported lazily: it loads Numba.

The work is cut into units of at most ``_CHUNK`` Philox blocks, small enough for the first-level cache. A unit
goes through short loops without branches, which LLVM turns into vector instructions: words, radii, points, placing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit

from theorysim.backend import cores, in_kernel_threads
from theorysim.noise_gpu import COS, LANES, LOG, SIN
from theorysim.vector_units import call, fma, wide_vectors

_CHUNK = 16 * LANES  # blocks in one unit: 1024 numbers, 20 kB of scratch
_SERIAL = 2**17  # numbers (0.5 ms) below which other threads are not worth waking: on a busy machine they come late

# Numba turns mixed signed and unsigned integers into floats, so every constant is a uint64 of its own.
_MASK, _ONE, _WIDTH = np.uint64(0xFFFFFFFF), np.uint64(1), np.uint64(32)
_MULTIPLIER_0, _MULTIPLIER_1 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_WEYL_0, _WEYL_1 = np.uint64(0x9E3779B9), np.uint64(0xBB67AE85)
_FRACTION, _SIGN, _QUADRANT = np.uint64(52), np.uint64(63), np.uint64(30)
_ROOT_HALF = np.uint64(0x3FE6A09E667F3BCD)  # the bits of sqrt(1/2)
_TWO_52 = np.uint64(0x4330000000000000)  # the bits of 2.0**52: or-ing an integer below 2**52 in adds it
_BELOW_QUADRANT = np.uint64(0x7FFFFFFE)

_Host = np.ndarray[Any, Any]


def _compiled(forceinline: bool = False) -> Callable[[Callable[..., Any]], Any]:
    """``numba.njit`` with our options. Python's check for division by zero would keep LLVM from vectorising: hence "numpy"."""
    decorator: Callable[[Callable[..., Any]], Any] = njit(cache=True, nogil=True, error_model="numpy", forceinline=forceinline)
    return decorator


@_compiled(forceinline=True)
def philox(c0: Any, c1: Any, c2: Any, c3: Any, k0: Any, k1: Any) -> Any:
    """Philox4x32-10 (Salmon et al., SC'11): four counter words and two key words to four words, all uint64 below 2**32."""
    for _ in range(10):
        p0 = (c0 & _MASK) * _MULTIPLIER_0
        p1 = (c2 & _MASK) * _MULTIPLIER_1
        c0, c1 = (p1 >> _WIDTH) ^ c1 ^ k0, p1 & _MASK
        c2, c3 = (p0 >> _WIDTH) ^ c3 ^ k1, p0 & _MASK
        k0 = (k0 + _WEYL_0) & _MASK
        k1 = (k1 + _WEYL_1) & _MASK
    return c0, c1, c2, c3


@_compiled(forceinline=True)
def _bits(number: Any) -> Any:
    value = np.float64(number)
    return value.view(np.uint64)


@_compiled(forceinline=True)
def _real(bits: Any) -> Any:
    value = np.uint64(bits)
    return value.view(np.float64)


@_compiled(forceinline=True)
def _polynomial(z: Any, c: Any) -> Any:
    y = z * z
    low = fma(fma(c[3], z, c[2]), y, fma(c[1], z, c[0]))
    return fma(fma(c[6], y, fma(c[5], z, c[4])), y * y, low)


@_compiled(forceinline=True)
def _odd(word: Any) -> Any:
    """2 word + 1 as a float, exactly, without the integer conversion that older vector units lack."""
    return _real((word << _ONE) | _ONE | _TWO_52) - 2.0**52


@_compiled(forceinline=True)
def _radius(word: Any) -> Any:
    """sqrt(-2 ln u), u = (2 word + 1) / 2**33 = m 2**(e - 33) with sqrt(1/2) <= m < sqrt(2)."""
    bits = _bits(_odd(word))
    exponent = (bits - _ROOT_HALF) >> _FRACTION
    f = _real(bits - (exponent << _FRACTION)) - 1.0
    s = f / (2.0 + f)
    power = _real(exponent | _TWO_52) - (2.0**52 + 33.0)
    # -2 ln u = -2 ln 2 power - 4 artanh(s)
    return np.sqrt(fma(s, _polynomial(s * s, LOG), power * -1.3862943611198906))


@_compiled(forceinline=True)
def _direction(word: Any) -> Any:
    """cos and sin of (pi/2) (q + t): q is the two top bits of the word, t its other bits spread over (-1/2, 1/2)."""
    t = (_real(((word << _ONE) & _BELOW_QUADRANT) | _ONE | _TWO_52) - (2.0**52 + 2.0**30)) * 2.0**-31
    c = _polynomial(t * t, COS)
    s = t * _polynomial(t * t, SIN)
    odd = (word >> _QUADRANT) & _ONE  # quadrants 1 and 3: cos and sin change places
    lower = word >> (_WIDTH - _ONE)  # quadrants 2 and 3: the sine is negative; the cosine is in 1 and 2
    x = s if odd != 0 else c
    y = c if odd != 0 else s
    return _real(_bits(x) ^ ((odd ^ lower) << _SIGN)), _real(_bits(y) ^ (lower << _SIGN))


@_compiled()
def _make_counters(blocks: Any, runs: Any, first: int, run: int) -> None:
    wide_vectors()
    for b in range(len(blocks)):
        blocks[b] = np.uint64(first + b)
        runs[b] = np.uint64(run)


@_compiled()
def _make_words(words: Any, count: int, where: Any) -> None:
    """Words in the place of the counters: the block numbers in ``words[0]``, the run numbers in ``words[2]``."""
    wide_vectors()
    step, word, k0, k1 = np.uint64(where[0]), np.uint64(where[1]), np.uint64(where[2]), np.uint64(where[3])
    for b in range(count):
        words[0, b], words[1, b], words[2, b], words[3, b] = philox(words[0, b], step, words[2, b], word, k0, k1)


@_compiled()
def _make_uniforms(words: Any, numbers: Any, count: int) -> None:
    wide_vectors()
    for lane in range(4):
        for b in range(count):
            numbers[lane, b] = _odd(words[lane, b]) * 2.0**-33


@_compiled()
def _make_radii(words: Any, radii: Any, count: int) -> None:
    wide_vectors()
    for pair in range(2):
        for b in range(count):
            radii[pair, b] = _radius(words[2 * pair, b])


@_compiled()
def _make_points(words: Any, radii: Any, numbers: Any, count: int) -> None:
    wide_vectors()
    for pair in range(2):
        for b in range(count):
            x, y = _direction(words[2 * pair + 1, b])
            numbers[2 * pair, b] = radii[pair, b] * x
            numbers[2 * pair + 1, b] = radii[pair, b] * y


@_compiled()
def _place(numbers: Any, offset: int, target: Any) -> None:
    """The numbers of one row to their coordinates: 16 of lane 0, 16 of lane 1, 2, 3, then the next 16 of lane 0, ..."""
    wide_vectors()
    size = len(target)
    for tile in range(size // (4 * LANES)):
        for lane in range(4):
            a, b = offset + LANES * tile, (4 * tile + lane) * LANES
            source, part = numbers[lane, a : a + LANES], target[b : b + LANES]
            for k in range(LANES):
                part[k] = source[k]
    tile = size // (4 * LANES)
    for i in range(4 * LANES * tile, size):
        part_index = i - 4 * LANES * tile
        target[i] = numbers[part_index // LANES, offset + LANES * tile + part_index % LANES]


@_compiled()
def scratch() -> Any:
    """Room for the words, radii and numbers of one unit."""
    return np.empty((4, _CHUNK), np.uint64), np.empty((2, _CHUNK)), np.empty((4, _CHUNK))


@_compiled()
def copied(target: Any, source: Any) -> None:
    wide_vectors()
    for k in range(len(target)):
        target[k] = source[k]


@_compiled()
def fill_piece(target: Any, words: Any, radii: Any, numbers: Any, first: int, run: int, where: Any, normal: bool) -> None:
    """The numbers of the coordinates from ``first`` on, a multiple of 64, of one row; at most 1024. The rest is scratch."""
    wide_vectors()
    count = -(-len(target) // (4 * LANES)) * LANES
    _make_counters(words[0, :count], words[2, :count], first // 4, run)
    _make_words(words, count, where)
    if normal:
        _make_radii(words, radii, count)
        _make_points(words, radii, numbers, count)
    else:
        _make_uniforms(words, numbers, count)
    _place(numbers, 0, target)


@_compiled()
def _fill_units(values: Any, runs: Any, where: Any, normal: bool, plan: Any, begin: int, end: int) -> None:
    """The units from ``begin`` to ``end``; a unit is a piece of a long row or several short rows."""
    wide_vectors()
    blocks, pieces, rows_together = plan
    words, radii, numbers = scratch()
    for unit in range(begin, end):
        first_row = unit // pieces * rows_together
        last_row = min(len(runs), first_row + rows_together)
        first = unit % pieces * _CHUNK
        count = min(_CHUNK, blocks - first)
        for row in range(first_row, last_row):
            a, b = (row - first_row) * count, (row - first_row + 1) * count
            _make_counters(words[0, a:b], words[2, a:b], first, runs[row])
        total = (last_row - first_row) * count
        _make_words(words, total, where)
        if normal:
            _make_radii(words, radii, total)
            _make_points(words, radii, numbers, total)
        else:
            _make_uniforms(words, numbers, total)
        for row in range(first_row, last_row):
            _place(numbers, (row - first_row) * count, values[row, 4 * first : 4 * (first + count)])


def fill(values: _Host, runs: _Host, where: tuple[int, int, int, int], normal: bool, parallel: bool | None = None) -> None:
    """Write standard normals (or uniforms) into ``values`` (rows, size), float64; ``runs`` is (rows,) uint32.

    ``where``: step, fourth counter word, low and high half of the seed. ``parallel``: use all threads; by default where
    there is enough to do. The bits do not depend on it.
    """
    rows, size = values.shape
    if values.size == 0:
        return
    blocks = -(-size // (4 * LANES)) * LANES
    pieces, rows_together = -(-blocks // _CHUNK), max(1, _CHUNK // blocks)
    units = -(-rows // rows_together) * pieces
    plan = (blocks, pieces, rows_together)
    tasks = min(units, cores()) if parallel or (parallel is None and values.size >= _SERIAL) else 1
    edges = [units * task // tasks for task in range(tasks + 1)]
    if tasks == 1:
        call(_fill_units, values, runs, where, normal, plan, 0, units)
    else:
        in_kernel_threads(lambda a, b: call(_fill_units, values, runs, where, normal, plan, a, b), edges[:-1], edges[1:])

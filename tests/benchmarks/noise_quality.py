"""Statistics of a large sample of the numbers of noise.py, gathered cube by cube, and the p-value of each.

A cube holds 2**20 normals: 8 runs of 4096 coordinates for two neighbours each of the seed, the seed's upper half, the stream,
the step and the call. So each number meets its neighbour in every part of the address once. ``gather`` sums up cubes,
``judge`` turns the sums into p-values; every one of them is uniform on (0, 1), or conservative, for perfect numbers.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, fields
from itertools import combinations, product
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from scipy import special, stats

RUNS, SIZE = 8, 4096
CUBE = 2**5 * RUNS * SIZE
TILE, LANES = 64, 16
WORDS = 2.0**32
LARGEST = math.sqrt(2 * math.log(2**33))  # of a normal: u takes 2**32 values
SIGMAS = (3, 4, 5, 6)
LAGS = (1, 2, 3, 4, 8, 15, 16, 17, 32, 48, 64, 128, 1024)
FINE, REACH = 4096, 7  # histogram: bins of 1/4096 from -7 to 7
KEPT, CLASS = 16, 5  # blocks are compared whose first word leaves this remainder: one in 16, and repeats with their originals

kernel = njit(nogil=True, cache=True, error_model="numpy")
summing = njit(nogil=True, cache=True, error_model="numpy", fastmath={"reassoc", "contract"})  # else no vector units


class Address(NamedTuple):
    """Where one array of the sample is drawn: runs ``run`` to ``run + 7``."""

    seed: int
    stream: int
    step: int
    call: int
    run: int


Source = Callable[[Address], np.ndarray]  # (RUNS, SIZE) normals, or uniforms


# ------------------------------------------------------------------------------------------------ which numbers meet
@dataclass(frozen=True)
class Meeting:
    """Segments of ``count`` numbers that begin at the columns of ``places`` (2 or 4, segments) meet, number by number."""

    places: np.ndarray
    count: int


def _offsets(*shape: int) -> np.ndarray:
    return np.arange(CUBE, dtype=np.int64).reshape(shape)


def meetings() -> dict[str, Meeting]:
    """The pairs whose products are summed."""
    found = {}
    for axis, name in enumerate(("seed + 1", "seed + 2**32", "stream + 1", "step + 1", "call + 1")):
        shape = (2**axis, 2, CUBE // 2 ** (axis + 1))
        found[name] = Meeting(np.ascontiguousarray(_offsets(*shape)[:, :, 0].T), shape[2])
    rows = _offsets(32, RUNS, SIZE)[..., 0]
    found["run + 1"] = Meeting(np.stack([rows[:, :-1].ravel(), rows[:, 1:].ravel()]), SIZE)
    for lag in LAGS:
        found[f"coordinate + {lag}"] = Meeting(np.stack([rows.ravel(), rows.ravel() + lag]), SIZE - lag)
    lanes = _offsets(-1, 4, LANES)[..., 0]
    for one, other in combinations(range(4), 2):
        found[f"words {one}, {other} of a block"] = Meeting(np.stack([lanes[:, one], lanes[:, other]]), LANES)
    return found


def foursomes() -> dict[str, Meeting]:
    """The fours whose joint law is counted in 8**4 cells; no number is in two fours of one kind."""
    cube, lanes = _offsets(2, 2, 2, 2, 2, RUNS * SIZE)[..., 0], _offsets(-1, 4, LANES)[..., 0]
    corners = [cube[0, :, :, 0, 0], cube[1, :, :, 0, 0], cube[0, :, :, 1, 0], cube[0, :, :, 0, 1]]
    halves = [cube[0, 0, 0], cube[0, 1, 0], cube[0, 0, 1], cube[1, 1, 1]]
    return {
        "the words of a block": Meeting(np.ascontiguousarray(lanes.T), LANES),
        "four neighbouring blocks": Meeting(np.ascontiguousarray(_offsets(-1, 4).T), 1),
        "four runs": Meeting(np.ascontiguousarray(_offsets(-1, 4, SIZE)[..., 0].T), SIZE),
        "this, seed, step, call + 1": Meeting(np.stack([each.ravel() for each in corners]), RUNS * SIZE),
        "this, seed + 2**32, stream + 1, all three": Meeting(np.stack([each.ravel() for each in halves]), RUNS * SIZE),
    }


MEETINGS, FOURSOMES = meetings(), foursomes()


# ------------------------------------------------------------------------------------------------ kernels
@summing
def _powers(z: Any) -> Any:
    sums = np.zeros(8)
    s1 = s2 = s3 = s4 = s5 = s6 = s7 = s8 = 0.0
    for x in z:
        y = x * x
        w = y * y
        s1 += x
        s2 += y
        s3 += x * y
        s4 += w
        s5 += x * w
        s6 += y * w
        s7 += x * y * w
        s8 += w * w
    sums[:] = (s1, s2, s3, s4, s5, s6, s7, s8)
    return sums


@summing
def _products(z: Any, places: Any, count: int) -> Any:
    """Sums of x y, of s t and of (x t + s y)/sqrt(2), with s and t the standardised squares: each term has variance 1."""
    values = squares = mixed = 0.0
    for k in range(places.shape[1]):
        first, second = z[places[0, k] : places[0, k] + count], z[places[1, k] : places[1, k] + count]
        for j in range(count):
            x, y = first[j], second[j]
            s, t = x * x - 1.0, y * y - 1.0
            values += x * y
            squares += s * t
            mixed += x * t + s * y
    return np.array([values, squares / 2, mixed / 2])


@kernel
def _octant(x: Any) -> Any:
    """One of 8 cells of equal probability."""
    a = abs(x)
    return 4 * (x > 0) + (a > 0.31863936396437514) + (a > 0.6744897501960817) + (a > 1.1503493803760079)


@kernel
def _cells(z: Any, places: Any, count: int) -> Any:
    table = np.zeros(4096, np.int64)
    for k in range(places.shape[1]):
        p, q, r, s = places[0, k], places[1, k], places[2, k], places[3, k]
        for j in range(count):
            table[((_octant(z[p + j]) * 8 + _octant(z[q + j])) * 8 + _octant(z[r + j])) * 8 + _octant(z[s + j])] += 1
    return table


@kernel
def _histogram(z: Any) -> Any:
    """Counts of bins (below -7 and above 7 at the ends), numbers beyond each of SIGMAS on both sides, and the largest |z|."""
    counts, tails, largest = np.zeros(2 * REACH * FINE, np.int64), np.zeros((2, 4), np.int64), 0.0
    for x in z:
        place = np.int64(np.floor(x * FINE)) + REACH * FINE
        counts[min(max(place, 0), 2 * REACH * FINE - 1)] += 1
        largest = max(largest, abs(x))
        if abs(x) > SIGMAS[0]:
            for k in range(4):
                tails[0 if x < 0 else 1, k] += abs(x) > SIGMAS[k]
    return counts, tails, largest


@kernel
def _block_products(z: Any) -> Any:
    """The products of all four numbers of a block, and of their squares."""
    values = squares = 0.0
    for begin in range(0, len(z), TILE):
        for k in range(begin, begin + LANES):
            a, b, c, d = z[k], z[k + 16], z[k + 32], z[k + 48]
            values += a * b * c * d
            squares += (a * a - 1.0) * (b * b - 1.0) * (c * c - 1.0) * (d * d - 1.0)
    return np.array([values, squares / 4])


@kernel
def _word(u: Any) -> Any:
    """The word behind a uniform number, and how far the number is from the grid."""
    exact = u * WORDS - 0.5
    nearest = min(max(np.int64(np.floor(exact + 0.5)), 0), np.int64(4294967295))
    return nearest, abs(exact - nearest)


@kernel
def _polar(x: Any, y: Any) -> Any:
    """The two words behind a Box-Muller pair."""
    radius, off = _word(np.exp(-0.5 * (x * x + y * y)))
    turn = np.arctan2(y, x) / (2 * np.pi) + 0.125
    angle, also_off = _word(turn if turn >= 0 else turn + 1)
    return radius, angle, max(off, also_off)


@kernel
def _pairs(z: Any) -> Any:
    """Words recovered from the normals: joint tables of leading bits, low bytes, blocks to compare, distance to the grid."""
    within, between, low = np.zeros((64, 64), np.int64), np.zeros((64, 64), np.int64), np.zeros((2, 256), np.int64)
    blocks, found, worst = np.empty(len(z) // 4, np.int64), 0, 0.0
    for begin in range(0, len(z), TILE):
        for k in range(begin, begin + LANES):
            r, a, off = _polar(z[k], z[k + 16])
            s, b, also_off = _polar(z[k + 32], z[k + 48])
            worst = max(worst, off, also_off)
            within[r >> 26, a >> 26] += 1
            within[s >> 26, b >> 26] += 1
            between[r >> 26, s >> 26] += 1
            for radius, angle in ((r, a), (s, b)):
                low[0, radius & 255] += 1
                low[1, angle & 255] += 1
            if r % KEPT == CLASS:
                blocks[found] = (r << 32) | a
                found += 1
    return within, between, low, blocks[:found].copy(), worst


@kernel
def _uniform_words(u: Any) -> Any:
    """Counts by the leading 20 bits, by each byte of each lane's words, and the distance to the grid."""
    top, bytes_, worst = np.zeros(2**20, np.int64), np.zeros((4, 4, 256), np.int64), 0.0
    for i in range(len(u)):
        word, off = _word(u[i])
        worst = max(worst, off)
        top[word >> 12] += 1
        for b in range(4):
            bytes_[i // LANES % 4, b, (word >> (8 * b)) & 255] += 1
    return top, bytes_, worst


@kernel
def _tail(sigma: float) -> Any:
    """P(normal > sigma) exactly, over all 2**64 pairs of words: both angles of each radius beyond are counted."""
    total, w = 0.0, 0
    while True:
        radius = np.sqrt(-2.0 * np.log((w + 0.5) / WORDS))
        if radius <= sigma:
            return total / WORDS / WORDS
        total += 2.0 * np.floor(np.arccos(sigma / radius) * WORDS / (2 * np.pi) + 0.5)
        w += 1


@functools.cache
def tail(sigma: int) -> float:
    """P(normal > sigma), of numbers of this resolution."""
    return float(_tail(float(sigma)))


def resolution_bias(order: int) -> float:
    """E normal**order with 2**32 radii, less that of the normal law: the first 2**16 radii make it."""
    if order % 2:
        return 0.0
    cells, half = 2**16, order // 2
    u = (np.arange(cells) + 0.5) / WORDS
    exact = 2.0**half * special.gamma(half + 1) * special.gammaincc(half + 1, -math.log(cells / WORDS))
    return float((np.sum((-2 * np.log(u)) ** half) / WORDS - exact) * special.binom(order, half) / 2.0**order)


# ------------------------------------------------------------------------------------------------ the sums
@dataclass
class Sums:
    """Everything that is gathered; two of them add up."""

    normals: int = 0
    powers: Any = 0
    histogram: Any = 0
    tails: Any = 0
    products: Any = 0
    fours: Any = 0
    block_products: Any = 0
    within: Any = 0
    between: Any = 0
    low: Any = 0
    uniforms: int = 0
    top: Any = 0
    bytes: Any = 0
    largest: float = 0.0
    off_grid: float = 0.0
    blocks: list[Any] = field(default_factory=list)

    def add(self, other: Sums) -> None:
        for each in fields(self):
            mine, theirs = getattr(self, each.name), getattr(other, each.name)
            setattr(self, each.name, max(mine, theirs) if each.name in ("largest", "off_grid") else mine + theirs)


def of_cube(z: np.ndarray) -> Sums:
    """The sums over one cube, ``(CUBE,)``."""
    histogram, tails, largest = _histogram(z)
    within, between, low, blocks, off = _pairs(z)
    return Sums(
        normals=z.size,
        powers=_powers(z),
        histogram=histogram,
        tails=tails,
        products=np.stack([_products(z, each.places, each.count) for each in MEETINGS.values()]),
        fours=np.stack([_cells(z, each.places, each.count) for each in FOURSOMES.values()]),
        block_products=_block_products(z),
        within=within,
        between=between,
        low=low,
        largest=largest,
        off_grid=off,
        blocks=[blocks],
    )


def addresses(cube: int) -> Iterator[Address]:
    """The 32 arrays of a cube. Even cubes are drawn where users draw: small seeds and steps, runs from 0; odd ones anywhere."""
    if cube % 2:
        g = np.random.default_rng([cube, 2026])
        seed, step, call = int(g.integers(2**64 - 2**33, dtype=np.uint64)), int(g.integers(2**32 - 1)), int(g.integers(2**28 - 1))
        stream, run = int(g.integers(15)), int(g.integers(2**32 - 9))
    else:
        seed, step, call, stream, run = cube // 128 * 2, cube // 2 % 64 * 2, 0, 0, 0
    for low, high, s, t, c in product((0, 1), repeat=5):
        yield Address(seed + low + high * 2**32, stream + s, step + t, call + c, run)


def numbers_of_cube(source: Source, cube: int) -> np.ndarray:
    """The ``(CUBE,)`` numbers of a cube."""
    return np.stack([source(each) for each in addresses(cube)]).ravel()


def gather(normal: Source, uniform: Source, cubes: int, uniform_cubes: int, threads: int = 2) -> Sums:
    """The sums over the first ``cubes`` cubes of normals and ``uniform_cubes`` of uniforms."""

    def of_normals(cube: int) -> Sums:
        return of_cube(numbers_of_cube(normal, cube))

    def of_uniforms(cube: int) -> Sums:
        u = numbers_of_cube(uniform, cube)
        top, bytes_, off = _uniform_words(u)
        return Sums(uniforms=u.size, top=top, bytes=bytes_, off_grid=off)

    total = Sums()
    with ThreadPoolExecutor(threads) as pool:
        for function, count in ((of_normals, cubes), (of_uniforms, uniform_cubes)):
            for begin in range(0, count, 16):  # a few at a time: results wait in memory
                for sums in pool.map(function, range(begin, min(count, begin + 16))):
                    total.add(sums)
    return total


# ------------------------------------------------------------------------------------------------ p-values
class Judged(NamedTuple):
    """One test: what was measured, in the words of its kind, and its p-value."""

    name: str
    measured: str
    p: float


def judge(sums: Sums) -> list[Judged]:
    """All tests."""
    groups = (_moments, _law, _tails, _correlations, _joint, _uniforms, _repeats)
    return [judged for group in groups for judged in group(sums)]


def _from_z(name: str, z: float) -> Judged:
    return Judged(name, f"z = {z:+.2f}", float(2 * special.ndtr(-abs(z))))


def _chi_square(name: str, counts: Any, expected: Any) -> Judged:
    counts, expected = np.ravel(counts), np.broadcast_to(expected, np.shape(counts)).ravel()
    statistic, freedom = float(np.sum((counts - expected) ** 2 / expected)), counts.size - 1
    z = (statistic - freedom) / math.sqrt(2 * freedom)
    one_sided = float(special.chdtrc(freedom, statistic))
    return Judged(name, f"{freedom + 1} cells, z = {z:+.2f}", min(1.0, 2 * min(one_sided, 1 - one_sided)))


def _kolmogorov(name: str, counts: Any, law: Any) -> Judged:
    """The largest distance at the edges of bins is at most the largest of all: the p-value errs on the safe side."""
    size = counts.sum()
    distance = float(np.max(np.abs(np.cumsum(counts)[:-1] / size - law)))
    return Judged(
        name, f"D = {distance:.2e}, sqrt(n) D = {math.sqrt(size) * distance:.3f}", special.kolmogorov(math.sqrt(size) * distance)
    )


def _moments(sums: Sums) -> Iterator[Judged]:
    moment = {k: float(math.prod(range(1, k, 2))) if k % 2 == 0 else 0.0 for k in range(17)}
    for order in range(1, 9):
        error = math.sqrt((moment[2 * order] - moment[order] ** 2) / sums.normals)
        yield _from_z(f"moment of order {order}", (sums.powers[order - 1] / sums.normals - moment[order]) / error)


def _law(sums: Sums) -> Iterator[Judged]:
    edges = np.arange(1 - REACH * FINE, REACH * FINE) / FINE
    law = special.ndtr(edges)
    yield _kolmogorov("normal law, Kolmogorov-Smirnov", sums.histogram, law)
    upper = special.ndtr(-edges)  # above 0 the differences of the law itself lose digits
    probability = np.diff(np.concatenate([[0.0], np.where(edges <= 0, law, -upper), [0.0]]))
    probability[REACH * FINE] += 1.0  # where the differences pass from one form to the other
    enough = np.flatnonzero(probability * sums.normals >= 25)
    first, last = int(enough[0]), int(enough[-1])

    def merged(values: Any) -> Any:
        return np.concatenate([[values[: first + 1].sum()], values[first + 1 : last], [values[last:].sum()]])

    yield _chi_square("normal law, chi-square", merged(sums.histogram), merged(probability * sums.normals))


def _tails(sums: Sums) -> Iterator[Judged]:
    for k, sigma in enumerate(SIGMAS):
        mean = tail(sigma) * sums.normals
        for side, sign in enumerate("<>"):
            count = int(sums.tails[side, k])
            p = 2 * min(stats.poisson.cdf(count, mean), stats.poisson.sf(count - 1, mean))
            yield Judged(f"tail {sign} {'-' * (side == 0)}{sigma}", f"{count}, expected {mean:.1f}", float(min(1.0, p)))
    yield Judged("largest |normal|", f"{sums.largest:.4f} of {LARGEST:.4f}", float(sums.largest < LARGEST + 1e-12))


def _correlations(sums: Sums) -> Iterator[Judged]:
    cubes = sums.normals // CUBE
    for (name, meeting), row in zip(MEETINGS.items(), sums.products, strict=True):
        size = cubes * meeting.places.shape[1] * meeting.count
        for what, total in zip(("values", "squares", "value and square"), row, strict=True):
            yield _from_z(f"{name}: {what}", total / math.sqrt(size))
    for what, total in zip(("values", "squares"), sums.block_products, strict=True):
        yield _from_z(f"product of the four words of a block: {what}", total / math.sqrt(sums.normals / 4))


def _joint(sums: Sums) -> Iterator[Judged]:
    for name, table in zip(FOURSOMES, sums.fours, strict=True):
        yield _chi_square(f"jointly: {name}", table, table.sum() / table.size)
    yield _chi_square("radius and angle of a pair", sums.within, sums.within.sum() / 4096)
    yield _chi_square("radii of the two pairs of a block", sums.between, sums.between.sum() / 4096)
    for what, table in zip(("radius", "angle"), sums.low, strict=True):
        yield _chi_square(f"low byte behind the {what}", table, table.sum() / 256)


def _uniforms(sums: Sums) -> Iterator[Judged]:
    yield _kolmogorov("uniform law, Kolmogorov-Smirnov", sums.top, np.arange(1, 2**20) / 2**20)
    yield _chi_square("uniform law, chi-square", sums.top.reshape(2**16, -1).sum(axis=1), sums.uniforms / 2**16)
    for lane, byte in product(range(4), range(4)):
        yield _chi_square(f"word {lane}, byte {byte}", sums.bytes[lane, byte], sums.uniforms / 1024)
    yield Judged("distance from the grid of 2**32 values", f"{sums.off_grid:.1e} steps", float(sums.off_grid < 1e-3))


def _repeats(sums: Sums) -> Iterator[Judged]:
    """First words recur as often as chance has it; whole halves of blocks, 64 bits, do not recur at all."""
    blocks = np.sort(np.concatenate(sums.blocks))
    if not blocks.size:
        yield Judged("repeated blocks", "none has a word of the class that is compared", 0.0)
        return
    repeats = blocks.size - 1 - int(np.count_nonzero(np.diff(blocks)))
    chance = blocks.size**2 / 2 / (2.0**64 / KEPT)
    p = float(stats.poisson.sf(repeats - 1, chance))
    yield Judged("repeated blocks", f"{repeats} among {blocks.size}, expected {chance:.0e}", p)
    cells, different = WORDS / KEPT, 1 + int(np.count_nonzero(np.diff(blocks >> 32)))
    load = blocks.size / cells
    mean = -cells * math.expm1(-load)
    spread = math.sqrt(cells * math.exp(-load) * -math.expm1(math.log1p(load) - load))
    yield _from_z("first words that recur", (different - mean) / spread)

"""Are the numbers of noise.py as good as they claim? A thousand million normals, in some minutes of two cores:

    python -m pytest -s tests/benchmarks/bench_noise_quality.py

The limits are fixed here, before any number is drawn: all tests together may be wrong about perfect numbers once in a
thousand samples (``LEVEL``, by Bonferroni). The sample is fixed too, so a second run says the same. What each test can see
is shown on generators with a defect, at a sixty-fourth of the size.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import pytest
from noise_quality import (
    CUBE,
    FOURSOMES,
    LANES,
    MEETINGS,
    RUNS,
    SIZE,
    Address,
    Source,
    Sums,
    gather,
    judge,
    numbers_of_cube,
    of_cube,
    resolution_bias,
)

from theorysim.backend import CPU
from theorysim.model import Draw
from theorysim.noise import Draws

LEVEL = 1e-3
GRID = "distance from the grid of 2**32 values"
CUBES, FEW = 1024, 16


def draws(address: Address) -> Draws:
    return Draws(CPU, address.seed, address.run + np.arange(RUNS))


def normals(address: Address) -> np.ndarray:
    return draws(address).normal(address.stream, Draw(address.step, address.call), (SIZE,))


def uniforms(address: Address) -> np.ndarray:
    return draws(address).uniform(address.stream, Draw(address.step, address.call), (SIZE,))


def report(sums: Sums) -> list[str]:
    """Print all tests; the names of those that fail, a p-value that is no number included."""
    judged = judge(sums)
    limit = LEVEL / len(judged)
    print(f"\n{sums.normals} normals and {sums.uniforms} uniforms, {len(judged)} tests, each fails at p < {limit:.1e}")
    for name, measured, p in judged:
        print(f"{name:55} {measured:45} p = {p:.3g}{'' if p >= limit else '  FAILS'}")
    return [name for name, _, p in judged if not p >= limit]


def test_a_thousand_million_numbers_pass() -> None:
    begin = time.perf_counter()
    sums = gather(normals, uniforms, CUBES, CUBES)
    failed = report(sums)
    print(f"{time.perf_counter() - begin:.0f} s")
    for order in (2, 4, 6, 8):
        print(f"moment of order {order}: the resolution of 2**32 radii moves it by {resolution_bias(order):.1e}")
    assert sums.normals == CUBES * CUBE > 10**9
    assert not failed


# ------------------------------------------------------------------------------------------------ generators with a defect
def box_muller(u: np.ndarray, radius_word: int = 0, shift: float = -np.pi / 2) -> np.ndarray:
    """(RUNS, SIZE) normals from uniforms in the documented layout."""
    words = u.reshape(RUNS, -1, 4, LANES)
    r, angle = np.sqrt(-2 * np.log(words[:, :, radius_word::2])), 2 * np.pi * (words[:, :, 1::2] - 1 / 8)
    z = np.empty_like(words)
    z[:, :, 0::2], z[:, :, 1::2] = r * np.cos(angle), r * np.cos(angle + shift)
    return z.reshape(u.shape)


def coarse(address: Address) -> np.ndarray:
    return (np.floor(uniforms(address) * 2**24) + 0.5) / 2**24


def with_gaps(address: Address) -> np.ndarray:
    """What belongs into one of 64 neighbouring cells of width 2**-16 lies in the next one."""
    u = uniforms(address)
    return u + (np.floor(u * 2**16) % 64 == 0) / 2**16


def repeating(address: Address) -> np.ndarray:
    """The sample with 64 blocks that occur twice, far apart."""
    z = normals(address)
    if address == Address(0, 0, 4, 0, 0):
        z[6, 1024:1280] = z[1, 256:512]
    return z


def philox_of_rounds(rounds: int) -> Source:
    """Normals from Philox with fewer rounds than ten."""
    low, width = np.uint64(0xFFFFFFFF), np.uint64(32)
    multipliers, weyls = (np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)), (0x9E3779B9, 0xBB67AE85)

    def source(address: Address) -> np.ndarray:
        c = [np.zeros((RUNS, SIZE // 4), np.uint64) for _ in range(4)]
        c[0] += np.arange(SIZE // 4, dtype=np.uint64)
        c[1] += np.uint64(address.step)
        c[2] += (address.run + np.arange(RUNS)).astype(np.uint64)[:, None]
        c[3] += np.uint64(address.stream + 16 * address.call)
        for turn in range(rounds):
            k = [np.uint64((half + turn * weyl) % 2**32) for half, weyl in zip(halves(address.seed), weyls, strict=True)]
            a, b = multipliers[0] * c[0], multipliers[1] * c[2]
            c = [(b >> width) ^ c[1] ^ k[0], b & low, (a >> width) ^ c[3] ^ k[1], a & low]
        words = np.stack([word.reshape(RUNS, -1, LANES) for word in c], axis=2)
        return box_muller((words.reshape(RUNS, SIZE) + 0.5) / 2**32)

    return source


def halves(seed: int) -> tuple[int, int]:
    return seed % 2**32, seed >> 32


def without_last_bit(part: str) -> Source:
    """Neighbours in one part of the address get the same numbers."""
    return lambda address: normals(address._replace(**{part: getattr(address, part) & ~1}))


def half_the_runs(address: Address) -> np.ndarray:
    return np.repeat(normals(address)[::2], 2, axis=0)


def changed(function: Callable[[np.ndarray], np.ndarray]) -> Source:
    return lambda address: function(normals(address))


def with_a_sign_that_follows(z: np.ndarray) -> np.ndarray:
    """The sign of a block's last number is that of the product of the others: any three are independent."""
    words = z.reshape(RUNS, -1, 4, LANES).copy()
    words[:, :, 3] = np.abs(words[:, :, 3]) * np.sign(words[:, :, 0] * words[:, :, 1] * words[:, :, 2])
    return words.reshape(z.shape)


def with_radii_that_follow(z: np.ndarray) -> np.ndarray:
    """The second pair of a block has the radius of the first, in a direction of its own."""
    words = z.reshape(RUNS, -1, 2, 2, LANES).copy()
    radii = np.sqrt(np.sum(words**2, axis=3, keepdims=True))
    words[:, :, 1] *= radii[:, :, 0] / radii[:, :, 1]
    return words.reshape(z.shape)


DEFECTS: dict[str, tuple[Source, Source, str]] = {
    "uniforms of 24 bits, normals": (lambda a: box_muller(coarse(a)), uniforms, "low byte behind the radius"),
    "uniforms of 24 bits": (normals, coarse, "word 0, byte 0"),
    "small uniforms a little more often": (normals, lambda a: uniforms(a) ** 1.003, "uniform law, Kolmogorov-Smirnov"),
    "uniforms with gaps": (normals, with_gaps, "uniform law, chi-square"),
    "blocks that occur twice": (repeating, uniforms, "repeated blocks"),
    "neighbouring seeds alike": (without_last_bit("seed"), uniforms, "seed + 1: values"),
    "upper half of the seed ignored": (lambda a: normals(a._replace(seed=a.seed % 2**32)), uniforms, "seed + 2**32: values"),
    "neighbouring streams alike": (lambda a: normals(a._replace(stream=0)), uniforms, "stream + 1: values"),
    "neighbouring steps alike": (without_last_bit("step"), uniforms, "step + 1: values"),
    "neighbouring calls alike": (without_last_bit("call"), uniforms, "call + 1: values"),
    "neighbouring runs alike": (half_the_runs, uniforms, "run + 1: values"),
    "radius from the word of the angle": (lambda a: box_muller(uniforms(a), 1), uniforms, "radius and angle of a pair"),
    "cosine twice": (lambda a: box_muller(uniforms(a), 0, 1.0), uniforms, "words 0, 1 of a block: values"),
    "a sign that follows three others": (changed(with_a_sign_that_follows), uniforms, "jointly: the words of a block"),
    "a radius for the whole block": (changed(with_radii_that_follow), uniforms, "radii of the two pairs of a block"),
    "0.2 % too wide": (changed(lambda z: 1.002 * z), uniforms, "moment of order 2"),
    "a little skew": (changed(lambda z: z + 0.002 * (z * z - 1)), uniforms, "moment of order 3"),
    "tails moved out by 1.5": (changed(lambda z: z + 1.5 * np.sign(z) * (np.abs(z) > 4.2)), uniforms, "tail < -6"),
    "no tail beyond 4": (changed(lambda z: np.clip(z, -4, 4)), uniforms, "tail > 4"),
    "single precision": (changed(lambda z: z.astype(np.float32).astype(float)), uniforms, GRID),
    "Philox of 3 rounds": (philox_of_rounds(3), uniforms, "repeated blocks"),
}


def test_the_double_of_the_shipped_generator_is_sound() -> None:
    """What the defects are planted in makes the shipped numbers."""
    address = Address(5 + 2**40, 1, 9, 2, 7)
    for source in (philox_of_rounds(10), lambda a: box_muller(uniforms(a))):
        np.testing.assert_allclose(source(address), normals(address), rtol=1e-13, atol=1e-14)
    assert not report(gather(normals, uniforms, FEW, FEW // 2))


@pytest.mark.parametrize("name", DEFECTS)
def test_a_defect_is_found(name: str) -> None:
    normal, uniform, expected = DEFECTS[name]
    failed = report(gather(normal, uniform, FEW, FEW // 2))
    print(f"{name}: {len(failed)} tests fail")
    assert expected in failed


def p_values(z: np.ndarray) -> dict[str, float]:
    """The p-values of all tests on one cube of normals."""
    sums = of_cube(z)
    sums.add(Sums(uniforms=2**20, top=np.ones(2**20, np.int64), bytes=np.full((4, 4, 256), 2**10)))
    return {each.name: each.p for each in judge(sums)}


@pytest.fixture(scope="module")
def cube() -> tuple[np.ndarray, dict[str, float]]:
    z = numbers_of_cube(normals, 2)
    return z, p_values(z)


Sound = tuple[np.ndarray, dict[str, float]]


@pytest.mark.parametrize("name", MEETINGS)
def test_every_pair_that_meets_is_looked_at(name: str, cube: Sound) -> None:
    """A number that follows the one it meets, by 3 % of a standard deviation, is seen by the test of that meeting."""
    (z, sound), places = cube, MEETINGS[name].places[:, :, None] + np.arange(MEETINGS[name].count)
    x, y = z[places[0]], z[places[1]]
    square = x**2 - 1
    for what, follows in {
        "values": y + 0.03 * x,
        "squares": y * (1 + 0.03 * square),
        "value and square": y + 0.03 * square,
    }.items():
        planted = z.copy()
        planted[places[1]] = follows
        assert sound[f"{name}: {what}"] > 1e-5 > 1e-9 > p_values(planted)[f"{name}: {what}"]


@pytest.mark.parametrize("name", FOURSOMES)
def test_every_four_that_meet_are_looked_at(name: str, cube: Sound) -> None:
    """The last one's sign follows those of the others in one case of four; any three stay independent."""
    (z, sound), places = cube, FOURSOMES[name].places[:, :, None] + np.arange(FOURSOMES[name].count)
    planted, (one, two, three, last) = z.copy(), places.reshape(4, -1)[:, ::4]
    planted[last] = np.abs(z[last]) * np.sign(z[one] * z[two] * z[three])
    assert sound[f"jointly: {name}"] > 1e-5 > 1e-9 > p_values(planted)[f"jointly: {name}"]


@pytest.mark.parametrize("byte", range(4))
def test_every_byte_of_the_uniforms_is_looked_at(byte: int) -> None:
    """A bit that is 0 in one word of a hundred more."""

    def source(address: Address) -> np.ndarray:
        u = uniforms(address)
        words = np.floor(u * 2**32).astype(np.int64)
        words[words % 100 == 0] &= ~(8 << (8 * byte))
        return (words + 0.5) / 2**32

    failed = report(gather(normals, source, 2, 8))
    assert {f"word {lane}, byte {byte}" for lane in range(4)} <= set(failed)

"""noise.py against published vectors, an independent generator, other backends and the distributions it promises."""

from __future__ import annotations

import itertools
import math
import shutil
import subprocess
import sys
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from host_gpu import HostGpu
from scipy import stats

from theorysim import noise_cpu
from theorysim.backend import CPU, to_host
from theorysim.model import Draw, TheorysimError
from theorysim.noise import SHARED, Draws, Stream

G = Stream.GRADIENT
FIRST = Draw(0)


def philox(counter: list[int], key: list[int], width: int) -> list[int]:
    """Philox4xW-10 from the definition in the paper, in exact integers; W is 32 or 64."""
    multipliers, weyls = {
        32: ((0xD2511F53, 0xCD9E8D57), (0x9E3779B9, 0xBB67AE85)),
        64: ((0xD2E7470EE14C6C93, 0xCA5A826395121157), (0x9E3779B97F4A7C15, 0xBB67AE8584CAA73B)),
    }[width]
    low = 2**width - 1
    for _ in range(10):
        a, b = multipliers[0] * counter[0], multipliers[1] * counter[2]
        counter = [(b >> width) ^ counter[1] ^ key[0], b & low, (a >> width) ^ counter[3] ^ key[1], a & low]
        key = [(k + w) & low for k, w in zip(key, weyls, strict=True)]
    return counter


@pytest.mark.parametrize(("counter", "key", "answer"), [  # published with Random123 (kat_vectors, philox4x32 10)
    ([0] * 4, [0] * 2, [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
    ([0xFFFFFFFF] * 4, [0xFFFFFFFF] * 2, [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]),
    ([0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344], [0xA4093822, 0x299F31D0],
     [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1]),
])  # fmt: skip
def test_philox_gives_the_published_answers(counter, key, answer):
    assert philox(counter, key, 32) == answer
    words = np.zeros((4, 1), np.uint64)
    words[0], words[2] = counter[0], counter[2]
    noise_cpu._make_words(words, 1, (counter[1], counter[3], *key))
    assert words[:, 0].tolist() == answer


def test_the_reference_is_the_generator_of_numpy_at_64_bits():
    key, counter = [0x0123456789ABCDEF, 0xFEDCBA9876543210], [11, 2**63 + 5, 3, 2**64 - 7]
    generator = np.random.Philox(key=np.array(key, np.uint64), counter=np.array(counter, np.uint64))
    assert generator.random_raw(4).tolist() == philox([12, *counter[1:]], key, 64)  # NumPy counts up before it draws


def reference_words(seed: int, stream: int, run: int, draw: Draw, size: int) -> np.ndarray:
    """The words of the blocks that hold ``size`` coordinates, (blocks, 4)."""
    key, word = [seed % 2**32, seed >> 32], stream + 16 * draw.call
    return np.array([philox([block, draw.step, run, word], key, 32) for block in range(16 * math.ceil(size / 64))])


def by_coordinate(values: np.ndarray, size: int) -> np.ndarray:
    """(blocks, 4) to coordinates: 64 i + 16 lane + k is word ``lane`` of block 16 i + k."""
    return np.array([values[16 * (c // 64) + c % 16, c // 16 % 4] for c in range(size)])


@pytest.mark.parametrize(("seed", "run", "draw", "size"), [
    (0, 0, Draw(0), 7), (2**64 - 3, 2**32 - 2, Draw(2**32 - 1, 2**28 - 1), 130), (12345 + 2**40, 17, Draw(9, 2), 1111),
])  # fmt: skip
def test_numbers_are_the_reference_through_the_documented_layout(seed, run, draw, size):
    draws = Draws(CPU, seed, np.array([run]))
    u = (reference_words(seed, Stream.BATCH, run, draw, size) + 0.5) / 2**32
    np.testing.assert_array_equal(draws.uniform(Stream.BATCH, draw, (size,))[0], by_coordinate(u, size))
    r, angle = np.sqrt(-2 * np.log(u[:, ::2])), 2 * np.pi * (u[:, 1::2] - 1 / 8)
    z = np.stack([r * np.cos(angle), r * np.sin(angle)], axis=-1).reshape(-1, 4)
    np.testing.assert_allclose(draws.normal(Stream.BATCH, draw, (size,))[0], by_coordinate(z, size), rtol=1e-14, atol=4e-15)
    integers = draws.integers(Stream.BATCH, draw, (size,), 1000)[0]
    np.testing.assert_array_equal(integers, by_coordinate(np.floor(u * 1000), size))


def test_polynomials_are_accurate_on_every_kind_of_word():
    breaks = (2.0 ** (np.arange(63) / 2)).astype(np.uint64)  # where the logarithm changes its expansion point
    quadrants = np.arange(4, dtype=np.uint64) << np.uint64(30)
    edges = np.concatenate([breaks, quadrants + np.uint64(1)])
    words = np.random.default_rng(5).integers(0, 2**32, 50_000).astype(np.uint64)
    words = np.concatenate([words, edges, edges - np.uint64(1), (quadrants - np.uint64(1)) & np.uint64(2**32 - 1)])
    words = np.stack([words, words, words[::-1], words])
    count = words.shape[1]
    radii, numbers = np.empty((2, count)), np.empty((4, count))
    noise_cpu._make_radii(words, radii, count)
    u = (words.astype(np.longdouble) + 0.5) / 2**32
    exact = np.sqrt(-2 * np.log(u[::2]))
    assert np.max(np.abs(radii / exact - 1)) < 6e-16
    noise_cpu._make_points(words, np.ones_like(radii), numbers, count)
    angle = 2 * np.pi * np.asarray(u[1::2] - 1 / np.longdouble(8), np.longdouble)
    angle += 2 * np.longdouble(1.2246467991473532e-16) * (u[1::2] - 1 / np.longdouble(8))  # 2 pi beyond float64
    assert np.max(np.abs(numbers[::2] - np.cos(angle))) < 4e-16
    assert np.max(np.abs(numbers[1::2] - np.sin(angle))) < 4e-16
    assert np.max(radii) == pytest.approx(math.sqrt(2 * 33 * math.log(2)), rel=1e-15)


def test_a_number_depends_on_its_own_address_alone():
    runs = np.array([3, 0, 2**32 - 2, 11, 5])
    draws, draw = Draws(CPU, 99, runs), Draw(4, 1)
    long = draws.normal(G, draw, (9, 333))
    assert long.shape == (5, 9, 333)
    for size in (1, 15, 16, 17, 64, 1000, 1024, 1025, 2222):
        np.testing.assert_array_equal(draws.normal(G, draw, (size,)), long.reshape(5, -1)[:, :size])
    for row, run in enumerate(runs):
        np.testing.assert_array_equal(Draws(CPU, 99, np.array([run])).normal(G, draw, (9, 333))[0], long[row])
    order = np.array([4, 1, 1, 0, 3, 2, 1])
    repeated = Draws(CPU, 99, runs[order])
    np.testing.assert_array_equal(repeated.normal(G, draw, (9, 333)), long[order])
    np.testing.assert_array_equal(repeated.uniform(G, draw, (50,)), draws.uniform(G, draw, (50,))[order])
    np.testing.assert_array_equal(draws.normal(G, draw, ()), long[:, 0, 0])
    assert draws.normal(G, draw, (3, 0)).shape == (5, 3, 0)
    assert Draws(CPU, 99, np.array([], int)).normal(G, draw, (3,)).shape == (0, 3)


def test_every_part_of_the_address_matters():
    def numbers(seed=1, stream=G, run=0, step=0, call=0):
        return Draws(CPU, seed, np.array([run])).uniform(stream, Draw(step, call), (200,))[0]

    variants = [numbers(stream=stream) for stream in Stream]
    for bit in (0, 1, 7, 16, 27):
        variants += [numbers(seed=1 ^ 2**bit), numbers(run=2**bit), numbers(step=2**bit), numbers(call=2**bit)]
    variants += [numbers(seed=1 ^ 2**bit) for bit in (31, 32, 63)] + [numbers(run=2**31), numbers(step=2**31)]
    variants.append(Draws(CPU, 1, np.array([0])).shared_uniform(G, FIRST, (200,)))
    assert all(np.all(a != b) for a, b in itertools.combinations(variants, 2))


def test_shared_numbers_are_those_of_the_reserved_run():
    u = (reference_words(8, Stream.INSTANCE, SHARED, Draw(0, 3), 40) + 0.5) / 2**32
    for runs in ([0, 1], [7]):
        shared = Draws(CPU, 8, np.array(runs)).shared_uniform(Stream.INSTANCE, Draw(0, 3), (8, 5))
        np.testing.assert_array_equal(shared, by_coordinate(u, 40).reshape(8, 5))
    first = Draws(CPU, 8, np.array([4])).shared_normal(Stream.INSTANCE, FIRST, ())
    assert first.shape == () and abs(first) < 6.77


@pytest.mark.parametrize("normal", [True, False])
@pytest.mark.parametrize(("rows", "size"), [(1, 5), (37, 100), (3, 9001), (2, 16384)])
def test_threads_do_not_change_a_bit(rows, size, normal):
    runs = np.arange(rows, dtype=np.uint32)
    serial, parallel = np.full((2, rows, size), np.nan)
    noise_cpu.fill(serial, runs, (1, 2, 3, 4), normal, parallel=False)
    noise_cpu.fill(parallel, runs, (1, 2, 3, 4), normal, parallel=True)
    np.testing.assert_array_equal(serial, parallel)
    assert not np.isnan(serial).any()


@cache
def sample() -> np.ndarray:
    """(runs, steps, coordinates) of normals: 2 million numbers."""
    draws = Draws(CPU, 2024, np.arange(20))
    return np.stack([draws.normal(G, Draw(step), (5000,)) for step in range(20)], axis=1)


@pytest.mark.parametrize("order", range(1, 9))
def test_moments_are_those_of_the_normal_law(order):
    z = sample()
    moment = {k: math.prod(range(1, k, 2)) if k % 2 == 0 else 0 for k in range(17)}
    error = math.sqrt((moment[2 * order] - moment[order] ** 2) / z.size)
    assert abs(np.mean(z**order) - moment[order]) < 4 * error


def test_distributions():
    assert stats.kstest(sample().ravel()[:1_000_000], "norm").pvalue > 1e-3
    draws = Draws(CPU, 7, np.arange(10))
    assert stats.kstest(draws.uniform(G, FIRST, (100_000,)).ravel(), "uniform").pvalue > 1e-3
    tail = np.mean(np.abs(sample()) > 4) * sample().size
    expected = 2 * stats.norm.sf(4) * sample().size
    assert abs(tail - expected) < 4 * math.sqrt(expected)
    integers = draws.integers(Stream.BATCH, FIRST, (100_000,), 37)
    assert integers.dtype == np.int64 and integers.shape == (10, 100_000)
    assert stats.chisquare(np.bincount(integers.ravel(), minlength=37)).pvalue > 1e-3
    assert np.all(draws.integers(G, FIRST, (1000,), 1) == 0)
    large = draws.integers(G, FIRST, (1000,), 2**32)
    np.testing.assert_array_equal(large, np.floor(draws.uniform(G, FIRST, (1000,)) * 2**32))


def assert_uncorrelated(a: np.ndarray, b: np.ndarray) -> None:
    """Neither the numbers nor their squares (which share the radius within a Box-Muller pair) are correlated."""
    for f in (lambda z: z, lambda z: (z**2 - 1) / math.sqrt(2)):
        assert abs(np.mean(f(a) * f(b))) < 4 / math.sqrt(a.size)


def test_neighbours_are_uncorrelated():
    z = sample()
    assert_uncorrelated(z[1:], z[:-1])
    assert_uncorrelated(z[:, 1:], z[:, :-1])
    for lag in (1, 2, 4, 16, 32, 48, 64, 1024):
        assert_uncorrelated(z[..., lag:], z[..., :-lag])
    draws = Draws(CPU, 2024, np.arange(20))
    for other in (replace(draws, seed=2025), replace(draws, seed=2024 + 2**32)):
        assert_uncorrelated(z[:, 0], other.normal(G, FIRST, (5000,)))
    assert_uncorrelated(z[:, 0], draws.normal(Stream.START, FIRST, (5000,)))
    assert_uncorrelated(z[:, 0], draws.normal(G, Draw(0, 1), (5000,)))


@pytest.mark.parametrize(("seed", "runs", "arguments", "text"), [
    (-1, [0], (G, FIRST, (3,)), "seed"),
    (2**64, [0], (G, FIRST, (3,)), "18446744073709551615"),
    (1.5, [0], (G, FIRST, (3,)), "seed"),
    (0, [-1], (G, FIRST, (3,)), "run"),
    (0, [0, SHARED], (G, FIRST, (3,)), "4294967294"),
    (0, [[0, 1]], (G, FIRST, (3,)), r"vector.*\(1, 2\)"),
    (0, [0.0], (G, FIRST, (3,)), "float64"),
    (0, [0], (16, FIRST, (3,)), "stream is 16; allowed: whole numbers from 0 to 15"),
    (0, [0], (G, Draw(2**32), (3,)), "step"),
    (0, [0], (G, Draw(-1), (3,)), "step"),
    (0, [0], (G, Draw(0, 2**28), (3,)), "call"),
    (0, [0], (G, FIRST, (2**20, 2**14 + 1)), "coordinates"),
])  # fmt: skip
def test_addresses_outside_the_limits_are_refused(seed, runs, arguments, text):
    with pytest.raises(TheorysimError, match=text):
        Draws(CPU, seed, np.array(runs)).normal(*arguments)


@pytest.mark.parametrize("high", [0, 2**32 + 1, 2.5])
def test_integers_need_a_sensible_range(high):
    with pytest.raises(TheorysimError, match="integers to choose from"):
        Draws(CPU, 0, np.array([0])).integers(G, FIRST, (3,), high)


def test_another_backend_has_the_same_bits(strict):
    here, there = (Draws(backend, 3, np.array([2, 0, 2])) for backend in (CPU, strict))
    for method, extra in (("normal", ()), ("uniform", ()), ("integers", (12,)), ("shared_normal", ()), ("shared_uniform", ())):
        ours, theirs = (getattr(draws, method)(G, Draw(5, 1), (3, 41), *extra) for draws in (here, there))
        assert theirs.device == strict.device and to_host(theirs).dtype == ours.dtype
        np.testing.assert_array_equal(to_host(theirs), ours)


def test_importing_noise_does_not_load_numba():
    code = "import sys, theorysim.noise; sys.exit('numba' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# --------------------------------------------------------------------------------- the CUDA source, compiled for the host
if shutil.which("g++"):

    @pytest.mark.parametrize("method", ["normal", "uniform", "shared_normal"])
    def test_the_cuda_kernel_makes_the_same_bits(tmp_path, method):
        seed, runs, draw = 2**64 - 2**31 + 77, np.array([5, 0, 2**32 - 2, 5]), Draw(2**32 - 1, 2**28 - 1)
        gpu = HostGpu(folder=tmp_path)
        ours, theirs = (getattr(Draws(backend, seed, runs), method)(Stream.BATCH, draw, (2, 617)) for backend in (CPU, gpu))
        np.testing.assert_array_equal(ours, theirs)
        assert getattr(Draws(gpu, seed, runs), method)(Stream.BATCH, draw, (0, 3)).size == 0

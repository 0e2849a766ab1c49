"""Planted laws: errors with a known law and known noise, for measuring how often the verdict rule errs.

An error is e[r, j] = law(T_j) u[r, j] with noise u of mean 1. Noise comes in batches of replicates, (n, R, m): nothing here
loops over seeds or replicates, and every noise is drawn from its distribution itself, without a path in d dimensions.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np

from theorysim.statistics import Floats

POINTS = 13  # checkpoints of a window
BATCH = 2**19  # numbers in a batch: a few MB, so that it stays in the processor's cache

Shape = tuple[int, int]  # (replicates, seeds)
Noise = Callable[[np.random.Generator, Shape, Floats], Floats]
Scale = Callable[[np.random.Generator, Shape], Floats]


@dataclass(frozen=True)
class Trial:
    """``replicates`` of an experiment with ``seeds`` seeds and one kind of ``noise`` at the checkpoints of ``window``."""

    noise: str
    seeds: int
    replicates: int
    window: tuple[float, float] = (16.0, 4096.0)
    seed: int = 0

    @property
    def grid(self) -> Floats:
        return np.geomspace(*self.window, POINTS)

    def batches(self) -> Iterator[Floats]:
        """The noise of all replicates, (n, R, m) at a time; a trial's numbers depend on nothing but its fields."""
        words = f"{self.noise}, {self.seeds} seeds, {self.window}"
        key = int.from_bytes(hashlib.blake2b(words.encode(), digest_size=8).digest(), "big")
        rng = np.random.default_rng(np.random.SeedSequence((self.seed, key)))
        size = max(1, BATCH // (self.seeds * POINTS))
        for first in range(0, self.replicates, size):
            yield NOISES[self.noise](rng, (min(size, self.replicates - first), self.seeds), self.grid)


def running_mean(rng: np.random.Generator, shape: Shape, grid: Floats, dim: int) -> Floats:
    """|W(T_j)|^2 / (d T_j) for a Brownian path W in R^d: the error of a running mean over its expectation.

    |W|^2 is Markov: one normal and one chi-square number with d - 1 degrees of freedom take it over an increment of T.
    """
    noise = np.empty((*shape, len(grid)))
    square = np.zeros(shape)
    for j, span in enumerate(np.diff(grid, prepend=0.0)):
        square = (np.sqrt(square) + np.sqrt(span) * rng.standard_normal(shape)) ** 2
        if dim > 1:
            square += 2 * span * rng.standard_gamma((dim - 1) / 2, shape)
        noise[..., j] = square / (dim * grid[j])
    return noise


def fresh(rng: np.random.Generator, shape: Shape, grid: Floats, dim: int) -> Floats:
    """chi^2_d / d, drawn anew at every checkpoint."""
    return 2 / dim * rng.standard_gamma(dim / 2, (*shape, len(grid)))


def scaled(rng: np.random.Generator, shape: Shape, grid: Floats, scale: Scale) -> Floats:
    """A running mean with d = 10 times a factor of mean 1 that belongs to the seed: a few seeds carry the mean."""
    return running_mean(rng, shape, grid, 10) * scale(rng, shape)[..., None]


def lognormal(rng: np.random.Generator, shape: Shape, spread: float) -> Floats:
    return np.exp(spread * rng.standard_normal(shape) - spread**2 / 2)


def pareto(rng: np.random.Generator, shape: Shape, tail: float) -> Floats:
    return (1 + rng.pareto(tail, shape)) * (tail - 1) / tail


def outliers(rng: np.random.Generator, shape: Shape, part: float, size: float) -> Floats:
    return np.where(rng.random(shape) < part, size, 1.0) / (1 + part * (size - 1))


# The seven families of noise, and d = 100, by the names that tables and figures use.
NOISES: Mapping[str, Noise] = {
    "d=10": partial(running_mean, dim=10),
    "d=1": partial(running_mean, dim=1),
    "d=100": partial(running_mean, dim=100),
    "fresh": partial(fresh, dim=10),
    "lognormal 1": partial(scaled, scale=partial(lognormal, spread=1.0)),
    "lognormal 2": partial(scaled, scale=partial(lognormal, spread=2.0)),
    "Pareto 3": partial(scaled, scale=partial(pareto, tail=3.0)),
    "5 % x20": partial(scaled, scale=partial(outliers, part=0.05, size=20.0)),
}
FAMILIES = tuple(name for name in NOISES if name != "d=100")

# Laws on a grid T (m,); T_end is its last value.
LAWS: Mapping[str, Callable[[Floats], Floats]] = {
    **{f"T^-{p:g}": partial(lambda t, p: t**-p, p=p) for p in (0.8, 0.85, 0.9, 1.1, 1.2)},
    "1/T": lambda t: 1 / t,
    "log T/T": lambda t: np.log(t) / t,
    **{f"1/T + {c:g}/T^2": partial(lambda t, c: 1 / t + c / t**2, c=c) for c in (5, 10, 20, 50, 100, 500, 2000, 5000)},
    **{f"1/(T + {c:g})": partial(lambda t, c: 1 / (t + c), c=c) for c in (5, 20, 100, 500, 2000, 5000)},
    **{f"(1 {c:+g}/sqrt T)/T": partial(lambda t, c: (1 + c / t**0.5) / t, c=c) for c in (-2, 2, 5, 10, 15, 30, 100)},
    **{f"1/T + {f:g}/T_end": partial(lambda t, f: 1 / t + f / t[-1], f=f) for f in (0.3, 1, 4)},
    **{f"exp(-{c:g} T/T_end)": partial(lambda t, c: np.exp(-c * t / t[-1]), c=c) for c in (5, 50)},
}

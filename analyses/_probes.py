"""Where an instance is looked at, and what is seen there: points, pairs of points, stochastic gradients. All on the host."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import array_api_compat
import numpy as np
from numpy.typing import NDArray

from theorysim.backend import namespace, to_host
from theorysim.model import Array, Draw, Problem

Floats = NDArray[np.float64]

_SCALES = np.geomspace(1e-3, 1.0, 7)  # of points and steps, in units of the distance of the start
_POWER_STEPS = 40
_POWER_LENGTH = 1e-3
_ROUNDING = 64 * np.finfo(float).eps


@dataclass(frozen=True)
class Pairs:
    """Pairs x, x + h. ``excess``: f(x + h) - f(x) - <grad f(x), h>, (pairs, rows). ``slack``: its rounding error.

    ``step`` and ``gradient``: h and grad f(x), (pairs, rows, coordinates).
    """

    excess: Floats
    slack: Floats
    step: Floats
    gradient: Floats

    def joined(self, other: Pairs) -> Pairs:
        fields = ("excess", "slack", "step", "gradient")
        return Pairs(*(np.concatenate([getattr(self, name), getattr(other, name)]) for name in fields))


class Probe:
    """A problem seen from the host: iterates are (rows, coordinates) arrays, coordinates in C order.

    ``centre``: the minimiser, or the start where none is declared. ``spread``: the largest coordinate of start - centre (1 if 0).
    ``reach``: the largest step per coordinate, for inequalities that hold only nearby. Points come from a fixed generator.
    """

    def __init__(self, problem: Problem, reach: Floats | float = np.inf) -> None:
        self.problem, self.reach = problem, reach
        self.rows = problem.start.shape[0]
        self.start = to_host(problem.start).reshape(self.rows, -1)
        declared = problem.start if problem.minimizer is None else problem.minimizer
        self.centre = np.broadcast_to(to_host(declared).reshape(-1, self.start.shape[1]), self.start.shape)
        self.spread = float(np.abs(self.start - self.centre).max()) or 1.0
        self.random = np.random.default_rng(0)

    def gap(self, x: Floats) -> Floats:
        return to_host(self.problem.gap(self._placed(x)))

    def gradient(self, x: Floats) -> Floats:
        return to_host(self.problem.gradient(self._placed(x))).reshape(x.shape)

    def sample(self, x: Floats, step: int) -> Floats:
        return to_host(self.problem.sample(self._placed(x), Draw(step))).reshape(x.shape)

    def _placed(self, x: Floats) -> Array:
        shaped = np.ascontiguousarray(x).reshape(self.rows, *self.problem.shape)
        return namespace(self.problem.start).asarray(shaped, device=array_api_compat.device(self.problem.start))

    def points(self) -> Iterator[Floats]:
        """The start, then points around the centre at every scale."""
        yield self.start
        for scale in _SCALES:
            yield self.centre + scale * self.spread * self.random.standard_normal(self.centre.shape)

    def steps(self) -> Iterator[Floats]:
        """Dense steps, steps along the diagonals and steps in one coordinate, at every scale, within reach."""
        shape = self.centre.shape
        for scale in _SCALES * self.spread:
            one = np.zeros(shape)
            one[np.arange(self.rows), self.random.integers(shape[1], size=self.rows)] = 1.0
            for direction in (self.random.standard_normal(shape), np.sign(self.random.standard_normal(shape)), one):
                yield np.clip(scale * direction, -self.reach, self.reach)

    def pairs(self) -> Pairs:
        """Every step at the centre, and at a random point."""
        bases = [*self.points(), self.centre]
        steps = list(self.steps())
        chosen = [bases[int(self.random.integers(len(bases)))] for _ in steps]
        return self.pair(chosen + [self.centre] * len(steps), steps + steps)

    def worst_pairs(self, weights: Callable[[Floats], Floats]) -> Pairs:
        """Steps h with nearly the largest <h, H(x) h> / sum_j w_j h_j^2: power iteration on differences of gradients.

        ``weights``: grad f(x) -> w, (rows, coordinates). Random steps hardly see one bad direction among many good ones.
        """

        def inverse(gradient: Floats, change: Floats) -> Floats:
            w = np.broadcast_to(weights(gradient), change.shape)
            return np.divide(1.0, w, out=np.zeros_like(change), where=w > 0) * change

        return self.preconditioned_pairs(inverse)

    def preconditioned_pairs(self, inverse: Callable[[Floats, Floats], Floats]) -> Pairs:
        """Steps h with nearly the largest <h, H(x) h> / <h, W h>; ``inverse``: (grad f(x), v) -> W^+ v. The first base is w*."""
        bases = [self.centre, self.start, self.centre + 0.3 * self.spread * self.random.standard_normal(self.centre.shape)]
        return self.pair(bases, [self._worst_step(base, inverse) for base in bases])

    def _worst_step(self, x: Floats, inverse: Callable[[Floats, Floats], Floats]) -> Floats:
        gradient, h = self.gradient(x), self._scaled(self.random.standard_normal(x.shape))
        for _ in range(_POWER_STEPS):
            h = self._scaled(h + inverse(gradient, self.gradient(x + h) - gradient))
        return h

    def _scaled(self, h: Floats) -> Floats:
        """``h`` with its largest coordinate small, but within reach."""
        size = np.abs(h).max(axis=1, keepdims=True)
        return np.clip(_POWER_LENGTH * self.spread * h / np.where(size > 0, size, 1.0), -self.reach, self.reach)

    def pair(self, bases: list[Floats], steps: list[Floats]) -> Pairs:
        seen = [self._seen(x, h) for x, h in zip(bases, steps, strict=True)]
        return Pairs(*(np.stack(column) for column in zip(*seen, strict=True)))

    def _seen(self, x: Floats, h: Floats) -> tuple[Floats, Floats, Floats, Floats]:
        gradient, moved = self.gradient(x), x + h
        h = moved - x  # the step that was taken, to the last bit
        here, there, slope = self.gap(x), self.gap(moved), (gradient * h).sum(axis=1)
        size = np.abs(here) + np.abs(there) + np.abs(gradient * h).sum(axis=1)
        return there - here - slope, _ROUNDING * size, h, gradient

    def noise(self, draws: int) -> Floats:
        """sample - gradient at the start, (draws * rows, coordinates): independent over steps and rows."""
        gradient = self.gradient(self.start)
        return np.concatenate([self.sample(self.start, step) - gradient for step in range(1, draws + 1)])

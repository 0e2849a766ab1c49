"""What an expectation is computed from: a quadratic in its eigenbasis and a linear method, or why there is none."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from theorysim.backend import Backend, namespace, to_host
from theorysim.build import build_algorithm, build_problem, variants
from theorysim.model import Algorithm, Array, GradientNoise, LinearMethod, Problem, Spec, TheorysimError
from theorysim.moments.growth import Noise
from theorysim.moments.stage import Weights, weights
from theorysim.noise import Draws

NEEDED = ("spectrum", "eigenbasis", "gradient_noise")


class Setting(NamedTuple):
    """By direction: ``eigenvalues`` ``(dim,)``; ``error``: w_1 - w*, ``(rows, dim)``; ``noise``. A direction is one of the basis,
    or stands for equal ones where noise is shared; then ``error`` is the root of the sum of their squared errors."""

    eigenvalues: Array
    error: Array
    noise: Noise
    method: LinearMethod

    @property
    def grows(self) -> bool:
        """Whether the second moments need a matrix: the noise depends on the error, or an average is put out."""
        return (
            self.method.averaged or self.noise.spread is not None or bool(to_host(namespace(self.error).any(self.noise.own != 0)))
        )

    def step(self, factor: float) -> Weights:
        """One step with s(t) = ``factor``, in every direction, ``(rows, dim)``."""
        method, zero = self.method, namespace(self.error).zeros_like(self.error)
        momentum = zero + method.momentum
        friction = 1 - momentum if method.friction is None else zero + method.friction
        push = None if method.kick is None else zero + factor * method.kick
        return weights(zero + factor * method.lr, momentum, friction, zero + method.look_ahead, push, self.eigenvalues)


def built(problem: Spec, algorithm: Spec, backend: Backend, seed: int, run: int = 0) -> tuple[Problem, Algorithm]:
    """The instance and the algorithm of two Specs, one row for each variant of the algorithm."""
    draws = Draws(backend, seed, np.full(variants(algorithm), run, dtype=np.int64))
    instance = build_problem(problem, draws)
    return instance, build_algorithm(algorithm, instance, draws)


def is_pooled(instance: Problem, algorithm: Algorithm) -> bool:
    """Whether the second moments are those of moments/pooled.py."""
    return algorithm.pooled is not None and "pooled_coordinates" in instance.capabilities


def setting(problem: Spec, algorithm: Spec, backend: Backend, seed: int, run: int = 0) -> tuple[Setting, Problem]:
    """The setting of two Specs, one row for each variant of the algorithm, and the built instance.

    Raises TheorysimError where no expectation can be computed: see ``obstacle``; for weights that are not allowed, too.
    """
    instance, made = built(problem, algorithm, backend, seed, run)
    return arranged(problem, instance, algorithm, made, backend), instance


def arranged(problem: Spec, instance: Problem, algorithm: Spec, made: Algorithm, backend: Backend) -> Setting:
    """The setting of what was built from two Specs; TheorysimError as ``setting``."""
    method, reason = made.linear, obstacle(problem, instance, algorithm, made)
    if reason or method is None:
        raise TheorysimError(f"{reason}; estimate others with theorysim.run(..., runs=...)")
    _require_allowed(method)
    eigenvalues, turn, noise = (instance.capabilities[name] for name in NEEDED)
    error = turn(instance.start - instance.minimizer)
    return _arranged(np.asarray(eigenvalues, dtype=float), error, noise, method, backend)


def obstacle(problem: Spec, instance: Problem, algorithm: Spec, made: Algorithm) -> str:
    """Why no expectation of a linear method is computed, or nothing."""
    if made.pooled is not None:
        return (
            f"{problem.name} declares no pooled_coordinates, which the expectation of {algorithm.name} needs; allowed are finite "
            "sums whose coordinates decouple, such as decentralized_quadratic"
        )
    missing = [name for name in NEEDED if name not in instance.capabilities]
    if missing:
        return (
            f"{problem.name} declares no {' and no '.join(missing)}, so no expectation is computed on it; allowed are quadratics "
            "whose gradient noise has known moments, such as anisotropic_quadratic or least_squares with Gaussian data"
        )
    if made.linear is None:
        return (
            f"{algorithm.name} declares no linear transition, so its expectation is not computed; allowed are methods with one "
            "gradient a step and weights fixed in advance, such as sgd, heavy_ball or nesterov with a momentum"
        )
    return ""


def computable(problem: Spec, algorithm: Spec, backend: Backend, seed: int) -> bool:
    """Whether an expectation finds what it needs."""
    instance, made = built(problem, algorithm, backend, seed)
    return is_pooled(instance, made) or not obstacle(problem, instance, algorithm, made)


def asked_steps(steps: int | Sequence[int]) -> list[int]:
    """The steps as a list of Python integers of at least 0."""
    try:
        asked = [operator.index(step) for step in ([steps] if isinstance(steps, int | np.integer) else steps)]
    except TypeError:
        asked = []
    if not asked or min(asked) < 0:
        raise TheorysimError(f"steps={steps!r} is not allowed; give an integer or a list of integers of at least 0")
    return asked


_ALLOWED: dict[str, tuple[Callable[[NDArray[np.float64]], NDArray[np.bool_]], str]] = {
    "lr": (lambda x: x >= 0, "at least 0"),
    "momentum": (lambda x: np.abs(x) < 1, "between -1 and 1"),
    "kick": (lambda x: np.abs(x) < np.inf, "finite"),
    "look_ahead": (lambda x: x >= 0, "at least 0"),
}


def _require_allowed(method: LinearMethod) -> None:
    for name, (holds, allowed) in _ALLOWED.items():
        value = getattr(method, name)
        host = np.asarray(to_host(value) if hasattr(value, "shape") else 0.0 if value is None else value, dtype=float)
        if not (np.isfinite(host) & holds(host)).all():
            raise TheorysimError(f"{name} is not allowed: an exact expectation needs finite weights, with {name} {allowed}")


def _arranged(
    eigenvalues: NDArray[np.float64], error: Array, noise: GradientNoise, method: LinearMethod, backend: Backend
) -> Setting:
    asarray, zero = backend.asarray, np.zeros_like(eigenvalues)
    additive = np.asarray(noise.additive, dtype=float) if method.stochastic else zero
    own = zero if noise.own is None or not method.stochastic else np.asarray(noise.own, dtype=float)
    if noise.shared is None or not method.stochastic:
        return Setting(asarray(eigenvalues), error, Noise(asarray(additive), asarray(own), None, None), method)
    shared = np.asarray(noise.shared, dtype=float)
    kinds, place, count = np.unique(np.stack([-eigenvalues, own, shared]), axis=1, return_inverse=True, return_counts=True)
    groups = asarray((place[:, None] == np.arange(len(count))).astype(float))
    summed = Noise(asarray(np.bincount(place, additive)), asarray(kinds[1]), asarray(kinds[2]), asarray(count * kinds[2]))
    return Setting(asarray(-kinds[0]), namespace(error).sqrt((error * error) @ groups), summed, method)

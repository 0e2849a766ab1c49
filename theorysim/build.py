"""From Specs to a problem and an algorithm on one backend, for the rows of one batch."""

from __future__ import annotations

from typing import Any

import numpy as np

from theorysim.backend import one_blas_thread
from theorysim.bounds import Bound
from theorysim.model import Algorithm, Problem, Spec, TheorysimError
from theorysim.noise import Draws
from theorysim.registry import ALGORITHMS, PROBLEMS, parameters
from theorysim.trace import varying


def build_problem(spec: Spec, draws: Draws) -> Problem:
    """The instance of a Spec for the rows of ``draws``; its bits do not depend on the number of threads."""
    with one_blas_thread():
        built: Problem = PROBLEMS.get(spec.name)(draws, **spec.arguments)
    return built


def build_algorithm(spec: Spec, problem: Problem, draws: Draws) -> Algorithm:
    """The algorithm of a Spec with its hyper-parameters resolved for this problem.

    Lists become ``(rows, 1, ...)`` arrays, one value per variant; text is evaluated in the problem's constants, which may
    differ by row. Raises TheorysimError where the problem lacks a capability the algorithm requires.
    """
    known = parameters(ALGORITHMS, spec.name)
    arguments: dict[str, Any] = {}
    for key, parameter in known.items():
        value = spec.arguments.get(key, parameter.default)
        if isinstance(value, Spec):
            arguments[key] = build_algorithm(value, problem, draws)
        else:
            arguments[key] = _per_row(value, problem, draws) if parameter.annotation == "PerRow" else value
    built: Algorithm = ALGORITHMS.get(spec.name)(**arguments)
    for capability in built.requires:
        if capability not in problem.capabilities:
            has = ", ".join(sorted(problem.capabilities)) or "none"
            raise TheorysimError(f"{spec.name} needs a problem with {capability!r}; this one has: {has}; choose another problem")
    return built


def variants(spec: Spec) -> int:
    """How many hyper-parameter variants an algorithm Spec holds."""
    return len(next(iter(varying(spec).values()), (None,)))


def _per_row(value: Any, problem: Problem, draws: Draws) -> Any:
    """A scalar as it stands; one value per variant, or per row, as an array that broadcasts over the iterate."""
    if isinstance(value, tuple):
        table = np.stack([np.broadcast_to(_evaluated(item, problem), draws.runs.shape) for item in value])
        values = table[np.repeat(np.arange(len(value)), len(draws.runs) // len(value)), np.arange(len(draws.runs))]
    else:
        values = _evaluated(value, problem)
        if values is None or np.ndim(values) == 0:
            return float(values) if isinstance(values, np.generic) else values
    return draws.backend.asarray(np.reshape(np.asarray(values, dtype=float), (-1,) + (1,) * len(problem.shape)))


def _evaluated(value: Any, problem: Problem) -> Any:
    try:
        return Bound(value)(problem.constants) if isinstance(value, str) else value
    except ZeroDivisionError:
        raise TheorysimError(f"{value!r} divides by zero on this problem; give a number, or another expression") from None

"""Operations and bytes of one coordinate update, counted while the methods take a step: no table by hand can be outdated."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from speed_experiments import Experiment, specs

from theorysim.backend import CPU
from theorysim.build import build_algorithm, build_problem
from theorysim.noise import Draws
from theorysim.oracle import Oracle

_RUNS, _DIM = 3, 7
_SLOW = ("sqrt", "divide")


class Counted(np.ndarray[Any, Any]):
    """An array that tells ``seen`` of every operation on arrays of full size."""

    seen: ClassVar[Counter[str]] = Counter()

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        plain = [np.asarray(each) if isinstance(each, Counted) else each for each in inputs]
        result = getattr(ufunc, method)(*plain, **options)
        if method == "__call__" and np.shape(result) == (_RUNS, _DIM):
            Counted.seen[ufunc.__name__] += 1
        return np.asarray(result).view(Counted)


@dataclass(frozen=True)
class Work:
    """``others``: additions, multiplications, comparisons. ``bytes``: the state read and written once, and the curvature."""

    sqrt: int
    divide: int
    others: int
    bytes: int


def counted(method: str) -> Work:
    """The work of one update without noise, as the method's own step does it, one operation after another."""
    problem_spec, method_spec = specs(Experiment(method, 0.0, _RUNS, _DIM, 1))
    draws = Draws(CPU, 0, np.arange(_RUNS))
    problem = build_problem(problem_spec, draws)
    algorithm = build_algorithm(method_spec, problem, draws)
    state = algorithm.init(problem, problem.start)
    oracle = Oracle(problem)
    oracle.begin(1)
    Counted.seen.clear()
    algorithm.step(type(state)(*(_watched(part) for part in state)), oracle)
    seen = dict(Counted.seen)
    arrays = sum(np.shape(part) == (_RUNS, _DIM) for part in state)
    others = sum(count for name, count in seen.items() if name not in _SLOW)
    return Work(seen.get("sqrt", 0), seen.get("divide", 0), others, 16 * arrays + 8)


def _watched(part: Any) -> Any:
    return _full(part) if np.shape(part) == (_RUNS, _DIM) else part


def _full(part: NDArray[Any]) -> Counted:
    return part.astype(float).view(Counted)

"""The exact worst case of a fixed-step method over all smooth convex functions, by the semidefinite program of PEPit.

The algorithm's own ``init`` and ``step`` run on symbolic points, so that what is proved is what is run.
[Drori, Teboulle 2014; Taylor, Hendrickx, Glineur 2017: performance estimation, recalled]
"""

from __future__ import annotations

import importlib.util
import warnings
from dataclasses import dataclass
from numbers import Real
from typing import Any, NoReturn

import numpy as np

from theorysim.backend import CPU
from theorysim.build import build_algorithm
from theorysim.model import Problem, Spec, TheorysimError
from theorysim.noise import Draws
from theorysim.trace import varying
from theorysim.validation import non_negative, one_of, positive, positive_integer

LONGEST = 30  # steps; the program has about as many points, and its time grows like the sixth power
_TOLERANCES = (1e-7, 1e-6)  # of the solver, of L R^2: the second where it stops short of the first
_PACKAGES = ("PEPit", "cvxpy", "clarabel")


def worst_case(
    algorithm: Spec, steps: int, *, smoothness: float = 1.0, strong_convexity: float = 0.0, radius: float = 1.0
) -> float:
    """sup f(w_{n+1}) - f* over L-smooth, mu-strongly convex f in any dimension and starts with |w_1 - w*|_2 <= R.

    ``steps``: n, at most 30. ``smoothness``: L, ``strong_convexity``: mu in [0, L), ``radius``: R; hyper-parameters that are text
    see them as lambda_max, lambda_min (and mu) and D_2_0. The value is the dual one, an upper bound to the solver's accuracy,
    1e-6 L R^2 or better, at the algorithm's output. Raises TheorysimError where the algorithm does more than add and scale
    vectors, where the solver does not report an optimum, and where theorysim[pep] is not installed.
    """
    at_most_longest(steps)
    positive("smoothness", smoothness), positive("radius", radius)
    if not non_negative("strong_convexity", strong_convexity) < smoothness:
        raise TheorysimError(f"strong_convexity={strong_convexity} is not below smoothness={smoothness}; give a smaller one")
    if one_of("kind of Spec", algorithm.kind, ("algorithm",)) and varying(algorithm):
        raise TheorysimError(f"{algorithm} holds a list of variants; ask for one at a time")
    _require_packages()
    from PEPit import PEP
    from PEPit.functions import SmoothStronglyConvexFunction

    program = PEP()
    function = program.declare_function(SmoothStronglyConvexFunction, mu=float(strong_convexity), L=float(smoothness))
    minimizer, start = function.stationary_point(), program.set_initial_point()
    program.set_initial_condition((start - minimizer) ** 2 <= float(radius) ** 2)
    constants = {"lambda_max": smoothness, "lambda_min": strong_convexity, "mu": strong_convexity, "D_2_0": radius}
    last = _run(algorithm, steps, _Oracle(function), Vector(start), {name: float(value) for name, value in constants.items()})
    program.set_performance_metric(function(last.point) - function(minimizer))
    return _solved(program, algorithm, steps)


def at_most_longest(steps: int) -> None:
    """TheorysimError for a horizon that the program does not reach."""
    if positive_integer("steps", steps) > LONGEST:
        raise TheorysimError(f"steps={steps} is not allowed: the exact worst case is computed for at most {LONGEST} steps")


def _require_packages() -> None:
    missing = [name for name in _PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise TheorysimError(f'the exact worst case needs {", ".join(missing)}; run pip install "theorysim[pep]"')


# ------------------------------------------------------------------------------------------------ running on symbols
@dataclass(frozen=True, eq=False)
class Vector:
    """A vector of unknown dimension, a linear combination of the program's unknowns: what an iterate is here.

    It can be added, subtracted and multiplied by numbers. Everything else an array can do raises TheorysimError.
    """

    point: Any
    __array_ufunc__ = None  # or a NumPy number on the left would take the product into its own hands

    def __add__(self, other: Vector) -> Vector:
        return Vector(self.point + _vector(other).point)

    def __sub__(self, other: Vector) -> Vector:
        return Vector(self.point - _vector(other).point)

    def __mul__(self, factor: float) -> Vector:
        return Vector(self.point * _number(factor))

    def __truediv__(self, divisor: float) -> Vector:
        return Vector(self.point / _number(divisor))

    def __neg__(self) -> Vector:
        return Vector(-self.point)

    __rmul__ = __mul__

    def __radd__(self, other: Any) -> NoReturn:
        _refuse("adds a number to a vector")

    __rsub__ = __radd__

    def __array_namespace__(self, api_version: str | None = None) -> _Namespace:
        return _Namespace()

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("__"):  # Python asks for many of these by itself
            raise AttributeError(name)
        _refuse(f"asks a vector for {name}")


class _Namespace:
    """The only array function with a meaning for a vector of unknown dimension."""

    __name__ = "vectors"

    @staticmethod
    def zeros_like(vector: Vector) -> Vector:
        return 0.0 * vector

    def __getattr__(self, name: str) -> NoReturn:
        _refuse(f"uses the array function {name}")


class _Oracle:
    """Answers with the exact gradient, whichever is asked for."""

    def __init__(self, function: Any) -> None:
        self._function = function

    def gradient(self, x: Vector) -> Vector:
        return Vector(self._function.gradient(_vector(x).point))

    sample = gradient


def _vector(value: Any) -> Vector:
    return value if isinstance(value, Vector) else _refuse("adds a number to a vector")


def _number(value: Any) -> float:
    return float(value) if isinstance(value, Real) else _refuse("multiplies or divides vectors")


def _refuse(what: str) -> NoReturn:
    raise TheorysimError(f"it {what}")


def _run(algorithm: Spec, steps: int, oracle: _Oracle, start: Vector, constants: dict[str, float]) -> Vector:
    """The output after ``steps`` steps of the algorithm itself."""

    def never(*_: Any) -> NoReturn:
        _refuse("asks the problem, not the oracle")

    problem = Problem((1,), start, None, constants, gap=never, gradient=never, sample=never)
    try:
        method = build_algorithm(algorithm, problem, Draws(CPU, 0, np.arange(1)))
        state = method.init(problem, start)
        for _ in range(steps):
            state = method.step(state, oracle)
        return _vector(method.output(state))
    except TheorysimError as error:
        raise TheorysimError(
            f"no exact worst case of {algorithm}: {error}; only fixed-step methods have one here, which add vectors and scale "
            "them by numbers made of lambda_max, lambda_min and D_2_0"
        ) from None


# ------------------------------------------------------------------------------------------------ the program
def _solved(program: Any, algorithm: Spec, steps: int) -> float:
    """The optimal value; TheorysimError for every status but ``optimal``."""
    import cvxpy

    status, value = "", None
    for tolerance in _TOLERANCES:
        accuracy = dict.fromkeys(("tol_gap_abs", "tol_gap_rel", "tol_feas"), tolerance)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an inaccurate solution is not taken
            try:
                value = program.solve(wrapper="cvxpy", solver="CLARABEL", verbose=0, **accuracy)
                status = program.wrapper.prob.status
            except cvxpy.error.SolverError as error:
                status = f"failed ({error})"
        if status == "optimal" and value is not None and np.isfinite(value):
            return float(value)
    hint = "the worst case is infinite, or nearly so" if "unbounded" in status else "its step sizes may be extreme"
    raise TheorysimError(f"no exact worst case of {algorithm} after {steps} steps: the solver says {status}; {hint}")

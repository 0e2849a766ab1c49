"""Faults of problem generators, of the constants they state, and of the bounds that are evaluated in those constants."""

from __future__ import annotations

import ast
import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from theorysim.backend import namespace, to_host
from theorysim.model import Array, Draw, Problem
from theorysim.mutation.algorithms import first_coordinate_times
from theorysim.mutation.fault import BOUND, PROBLEM, Fault

Build = Callable[..., Problem]
Change = Callable[[Build, dict[str, Any]], Problem | None]
Evaluate = Callable[[str, dict[str, Any]], Any]
BoundChange = Callable[[Evaluate, str, dict[str, Any]], Any]


def _with(new: Callable[[Problem], dict[str, Any] | None]) -> Change:
    """Other fields of the built problem; None: nothing to change."""

    def change(build: Build, arguments: dict[str, Any]) -> Problem | None:
        sound = build(**arguments)
        fields = new(sound)
        return None if fields is None else dataclasses.replace(sound, **fields)

    return change


# ------------------------------------------------------------------------------------------------ gradients and noise
def _gradient(heard: Callable[[Array], Array]) -> Change:
    """Every gradient, exact or not, passes through ``heard``."""
    return _with(
        lambda problem: {
            "gradient": lambda x: heard(problem.gradient(x)),
            "sample": lambda x, draw: heard(problem.sample(x, draw)),
        }
    )


def _noise(factor: Callable[[Problem], float]) -> Change:
    """The noise multiplied; nothing to change where there is none."""

    def new(problem: Problem) -> dict[str, Any] | None:
        times = factor(problem)
        if times == 1.0 or _noiseless(problem):
            return None

        def sample(x: Array, draw: Draw) -> Array:
            exact = problem.gradient(x)
            return exact + times * (problem.sample(x, draw) - exact)

        return {"sample": sample}

    return _with(new)


def _noiseless(problem: Problem) -> bool:
    """By its vector sigma; where it declares none, by two of its stochastic gradients."""
    if "sigma" in problem.vectors:
        return not to_host(problem.vectors["sigma"]).any()
    exact = to_host(problem.gradient(problem.start))
    return all(np.array_equal(to_host(problem.sample(problem.start, Draw(t))), exact) for t in (1, 2))


def _root_of_batch(problem: Problem) -> float:
    return float(np.sqrt(problem.constants.get("M", 1)))


def _repeated(problem: Problem) -> dict[str, Any] | None:
    return None if _noiseless(problem) else {"sample": lambda x, draw: problem.sample(x, Draw(1, draw.call))}


def _transposed_noise(problem: Problem) -> dict[str, Any] | None:
    """The noise N' in place of N: its covariance lies on the other side. Only square matrices can have it."""
    if len(problem.shape) != 2 or problem.shape[0] != problem.shape[1] or _noiseless(problem):
        return None

    def sample(x: Array, draw: Draw) -> Array:
        exact = problem.gradient(x)
        return exact + namespace(x).matrix_transpose(problem.sample(x, draw) - exact)

    return {"sample": sample}


# ------------------------------------------------------------------------------------------------ gap
def _unshifted(problem: Problem) -> dict[str, Any] | None:
    w = problem.minimizer
    return None if w is None or not to_host(w).any() else {"gap": lambda x: problem.gap(x + w)}


def _one_coordinate_short(problem: Problem) -> dict[str, Any] | None:
    w = problem.minimizer
    if w is None:
        return None
    lose = first_coordinate_times(0.0)
    return {"gap": lambda x: problem.gap(w + lose(x - w))}


# ------------------------------------------------------------------------------------------------ constants
def _stated(*names: str, factor: float = 0.5) -> Change:
    """Constants of these names are stated wrongly, and so are the vectors and the matrices of these names."""

    def new(problem: Problem) -> dict[str, Any] | None:
        constants, vectors, matrices = dict(problem.constants), dict(problem.vectors), dict(problem.capabilities)
        wrong = [(table, name) for table in (constants, vectors) for name in names if name in table and _nonzero(table[name])]
        for table, name in wrong:
            table[name] = factor * table[name]
        for name in set(names) & set(matrices):
            matrices[name] = _times(factor, problem.capabilities[name])
        return {"constants": constants, "vectors": vectors, "capabilities": matrices} if wrong else None

    return _with(new)


def _times(factor: float, matrix: Callable[[], Any]) -> Callable[[], Any]:
    return lambda: factor * matrix()


def _nonzero(value: Any) -> bool:
    return bool(np.any(to_host(value) if hasattr(value, "shape") else value))


def _wrong_batch(problem: Problem) -> dict[str, Any] | None:
    """Without noise the batch size means nothing."""
    constants = problem.constants
    return None if _noiseless(problem) or "M" not in constants else {"constants": {**constants, "M": 2 * constants["M"]}}


def _longer_start(problem: Problem) -> dict[str, Any]:
    w = namespace(problem.start).zeros_like(problem.start) if problem.minimizer is None else problem.minimizer
    return {"start": w + 2.0 * (problem.start - w)}


def _declared_noise(**factors: float) -> Change:
    """The declared moments of the gradient noise with these parts multiplied."""

    def new(problem: Problem) -> dict[str, Any] | None:
        noise = problem.capabilities.get("gradient_noise")
        if noise is None:
            return None
        parts = {name: getattr(noise, name) for name in factors}
        wrong = {name: factors[name] * part for name, part in parts.items() if part is not None and _nonzero(part)}
        return (
            {"capabilities": {**problem.capabilities, "gradient_noise": dataclasses.replace(noise, **wrong)}} if wrong else None
        )

    return _with(new)


def _declared_spectrum(problem: Problem) -> dict[str, Any] | None:
    """The smallest curvature is declared twice as large."""
    if "spectrum" not in problem.capabilities:
        return None
    values = np.array(problem.capabilities["spectrum"], dtype=float)
    values[np.argmin(np.where(values > 0, values, np.inf))] *= 2
    return {"capabilities": {**problem.capabilities, "spectrum": values}}


def _problem(name: str, about: str, change: Change) -> Fault:
    return Fault(name, about, PROBLEM, change)


_L = ("L", "L_1norm", "L_infnorm", "L_nuclearnorm", "L_opnorm", "l_1norm", "left_smoothness")
_V = ("V_nuclearnorm", "V_opnorm", "left_noise")
_SIGMA = ("sigma", "sigma_1norm", "sigma_2norm", "sigma_row_1norm", "sigma_full")
_Q = ("Q_nuclearnorm", "left_gradient")

PROBLEM_FAULTS = (
    _problem("gradient_doubled", "gradients twice as large", _gradient(lambda g: 2.0 * g)),
    _problem("gradient_sign", "the first coordinate of every gradient negated", _gradient(first_coordinate_times(-1.0))),
    _problem("gradient_lost", "the first coordinate of every gradient is 0", _gradient(first_coordinate_times(0.0))),
    _problem("noise_missing", "stochastic gradients are exact", _noise(lambda problem: 0.0)),
    _problem("noise_doubled", "noise twice as large", _noise(lambda problem: 2.0)),
    _problem("noise_keeps_size", "the noise does not shrink with the batch size", _noise(_root_of_batch)),
    _problem("noise_repeated", "the same noise in every step", _with(_repeated)),
    _problem("noise_transposed", "the noise of a square matrix transposed", _with(_transposed_noise)),
    _problem("declared_noise_halved", "the variance of the gradient noise declared half as large", _declared_noise(additive=0.5)),
    _problem(
        "declared_noise_steady", "the gradient noise declared not to grow with the error", _declared_noise(own=0.0, shared=0.0)
    ),
    _problem("declared_noise_own", "the gradient noise declared to grow with each entry alone", _declared_noise(shared=0.0)),
    _problem("declared_curvature", "the smallest curvature declared twice as large", _with(_declared_spectrum)),
    _problem("gap_halved", "half the gap", _with(lambda problem: {"gap": lambda x: 0.5 * problem.gap(x)})),
    _problem("gap_unshifted", "the gap measured as if w* were 0", _with(_unshifted)),
    _problem("gap_short", "the gap without its first coordinate", _with(_one_coordinate_short)),
    _problem("start_doubled", "starts twice as far away as it states", _with(_longer_start)),
    _problem("L1_halved", "the constant of E |x|^2 xx' stated half as large", _stated("L1", "L_m", "kappa", "kappa_m")),
    _problem("kappa_tilde_halved", "kappa~ stated half as large", _stated("kappa_tilde", "kappa_tilde_m")),
    _problem("growth_halved", "the constant of strong growth stated half as large", _stated("rho")),
    _problem("L_halved", "L and its norms stated half as large", _stated(*_L)),
    _problem("L_doubled", "L and its norms stated twice as large", _stated(*_L, factor=2.0)),
    _problem("L_1norm_halved", "the sum of L stated half as large", _stated("L_1norm")),
    _problem("L_nuclear_halved", "the nuclear norm of L stated half as large", _stated("L_nuclearnorm")),
    _problem("L_0_halved", "L_0 and its norms stated half as large", _stated("L_0", "L_0_1norm", "L_0_infnorm")),
    _problem("L_1_quartered", "L_1 and its norms four times too small", _stated("L_1", "L_1_1norm", "L_1_infnorm", factor=0.25)),
    _problem("lambda_halved", "lambda_max stated half as large", _stated("lambda_max")),
    _problem("lambda_doubled", "lambda_max stated twice as large", _stated("lambda_max", factor=2.0)),
    _problem("mu_doubled", "strong convexity stated twice as large", _stated("mu", "lambda_min", factor=2.0)),
    _problem("trace_halved", "the trace of H stated half as large", _stated("trace_H")),
    _problem("sigma_halved", "sigma and its norms stated half as large", _stated(*_SIGMA)),
    _problem("sigma_doubled", "sigma and its norms stated twice as large", _stated(*_SIGMA, factor=2.0)),
    _problem("V_halved", "V and its norms stated half as large", _stated(*_V)),
    _problem("V_doubled", "V and its norms stated twice as large", _stated(*_V, factor=2.0)),
    _problem("Q_halved", "Q stated half as large", _stated(*_Q)),
    _problem("Q_doubled", "Q stated twice as large", _stated(*_Q, factor=2.0)),
    _problem("M_doubled", "the batch size stated twice as large", _with(_wrong_batch)),
    _problem("D_inf_halved", "the largest coordinate error of the start halved", _stated("D_inf_0")),
    _problem("D_2_halved", "the distance of the start halved", _stated("D_2_0")),
    _problem("D_op_halved", "the largest singular value of the start's error halved", _stated("D_op_0")),
    _problem("D_row_halved", "the longest row of the start's error halved", _stated("D_row_0")),
    _problem("Delta_halved", "the gap of the start stated half as large", _stated("Delta_0")),
)


# ------------------------------------------------------------------------------------------------ bounds
def _text(new: Callable[[str], str]) -> BoundChange:
    def change(evaluate: Evaluate, text: str, values: dict[str, Any]) -> Any:
        return None if new(text) == text else evaluate(new(text), values)

    return change


def _value(name: str, new: Callable[[dict[str, Any]], Any]) -> BoundChange:
    def change(evaluate: Evaluate, text: str, values: dict[str, Any]) -> Any:
        return evaluate(text, {**values, name: new(values)}) if name in values else None

    return change


def _exchanged(others: dict[str, str]) -> BoundChange:
    """Constants in the place of others, where the problem states both."""

    def change(evaluate: Evaluate, text: str, values: dict[str, Any]) -> Any:
        found = {name: values[other] for name, other in others.items() if name in values and other in values}
        return evaluate(text, {**values, **found}) if found else None

    return change


def without_term(text: str, last: bool) -> str:
    """The expression without the last or the first term of its outermost sum; itself where it holds no sum."""
    tree = ast.parse(text, mode="eval")
    chains = [node for node in ast.walk(tree) if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add)]
    if not chains:
        return text
    outer = inner = chains[0]
    while isinstance(inner.left, ast.BinOp) and isinstance(inner.left.op, ast.Add):
        inner = inner.left
    gone, kept = (outer, outer.left) if last else (inner, inner.right)
    return ast.unparse(_Exchange(gone, kept).visit(tree))


class _Exchange(ast.NodeTransformer):
    def __init__(self, old: ast.AST, new: ast.AST) -> None:
        self.old, self.new = old, new

    def visit(self, node: ast.AST) -> Any:
        return self.new if node is self.old else self.generic_visit(node)


def _bound(name: str, about: str, change: BoundChange) -> Fault:
    return Fault(name, about, BOUND, change)


BOUND_FAULTS = (
    _bound("halved", "half the bound", lambda evaluate, text, values: 0.5 * evaluate(text, values)),
    _bound("doubled", "twice the bound", lambda evaluate, text, values: 2.0 * evaluate(text, values)),
    _bound("infinite", "no bound at all", lambda evaluate, text, values: evaluate(text, values) + np.inf),
    _bound("T_shifted", "T + 1 in place of T", _value("T", lambda values: values["T"] + 1)),
    _bound("T_squared", "T^2 in place of T", _value("T", lambda values: values["T"] ** 2)),
    _bound("last_term_lost", "without the last term of the sum", _text(lambda text: without_term(text, last=True))),
    _bound("first_term_lost", "without the first term of the sum", _text(lambda text: without_term(text, last=False))),
    _bound("root_lost", "without the square roots", _text(lambda text: text.replace("sqrt(", "("))),
    _bound("square_lost", "without the squares", _text(lambda text: text.replace("**2", ""))),
    _bound("largest_L", "max L_j in place of the sum of all L_j", _value("L_1norm", lambda v: v.get("L_infnorm", v["L_1norm"]))),
    _bound(
        "two_norm",
        "the l2 norm of sigma in place of its l1 norm",
        _value("sigma_1norm", lambda v: v.get("sigma_2norm", v["sigma_1norm"])),
    ),
    _bound(
        "op_for_nuclear",
        "the spectral norms of L and V in place of their nuclear norms",
        _exchanged({"L_nuclearnorm": "L_opnorm", "V_nuclearnorm": "V_opnorm"}),
    ),
    _bound("entry_for_op", "the largest entry of the start's error in place of D_op", _exchanged({"D_op_0": "D_inf_0"})),
)

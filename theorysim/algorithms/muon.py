"""Muon: steps along the polar factor of the gradient."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from theorysim.algorithms._matrices import require_matrices
from theorysim.algorithms._practical import moved
from theorysim.backend import namespace
from theorysim.matrix_functions import polar
from theorysim.matrix_iterations import checked_polar, muon_polar
from theorysim.model import Algorithm, Array, PerRow, Problem
from theorysim.norms import norm
from theorysim.registry import register_algorithm
from theorysim.schedules import schedule as step_schedule
from theorysim.validation import one_of

# c_t of an update direction D (rows, m, n)
LENGTHS: dict[str, Callable[[Array], Any]] = {
    "constant": lambda d: 1.0,
    "nuclear": lambda d: namespace(d).reshape(norm(d, "nuclear"), (-1, 1, 1)),
    "rms": lambda d: 0.2 * max(d.shape[1:]) ** 0.5,
    "spectral": lambda d: max(1.0, d.shape[1] / d.shape[2]) ** 0.5,
}
ROOTS: dict[str, Callable[[Array], Array]] = {
    "polar": polar,
    "newton_schulz": muon_polar,
    "polar_express": lambda d: checked_polar(d, "polar_express").value,
}


class State(NamedTuple):
    """``m``: the momentum, (rows, m, n). ``t``: steps."""

    x: Array
    m: Array
    t: int


@register_algorithm
def muon(
    lr: PerRow = 0.02,
    momentum: PerRow = 0.0,
    length: str = "constant",
    root: str = "polar",
    nesterov: bool = False,
    weight_decay: PerRow = 0.0,
    schedule: str = "constant",
) -> Algorithm:
    """Steps along the polar factor U Z' of the averaged gradient U diag(s) Z'.

    M_t = momentum M_{t-1} + (1 - momentum) G_t, with M_0 = 0;  D_t = M_t, or momentum M_t + (1 - momentum) G_t (``nesterov``);
    W_{t+1} = (1 - lr_t weight_decay) W_t - lr_t c_t polar(D_t).

    ``lr``: times s(t) by ``schedule`` (schedules.py) it is lr_t, in units of W, or of W over gradient for ``length="nuclear"``.
    ``momentum``: in [0, 1). ``length``: c_t is 1 (``"constant"``); the nuclear norm of D_t (``"nuclear"``): steepest descent in
    the spectral norm, with lr 1/L_nuclearnorm; 0.2 sqrt(max(m, n)) (``"rms"``), entries as large as Adam's; or
    sqrt(max(1, m/n)) (``"spectral"``). ``root``: ``"polar"`` is exact; ``"newton_schulz"`` the five quintic steps in use, which
    leave singular values between about .7 and 1.2; ``"polar_express"`` ten quintic steps, checked, exact where they fail.
    The baseline in the code of ASGO's authors has momentum .9, length "rms", root "newton_schulz" and no Nesterov step.
    Raises TheorysimError unless the iterates are matrices. [Jordan et al. 2024, recalled; "rms": Liu et al. 2025; the nuclear
    length derived]
    """
    size, factor_of = LENGTHS[one_of("length", length, LENGTHS)], ROOTS[one_of("root", root, ROOTS)]
    one_of("nesterov", nesterov, (True, False))
    decrease = step_schedule(schedule)

    def init(problem: Problem, x0: Array) -> State:
        require_matrices("muon", x0)
        return State(x0, namespace(x0).zeros_like(x0), 0)

    def step(state: State, oracle: Any) -> State:
        g, t = oracle.sample(state.x), state.t + 1
        m = momentum * state.m + (1 - momentum) * g
        direction = momentum * m + (1 - momentum) * g if nesterov else m
        return State(moved(state.x, size(direction) * factor_of(direction), lr * decrease(t), weight_decay), m, t)

    return Algorithm(init, step)

"""Muon: steps along the polar factor of the gradient."""

from __future__ import annotations

from typing import Any, NamedTuple

from theorysim.algorithms._matrices import require_matrices
from theorysim.backend import namespace
from theorysim.matrix_functions import polar
from theorysim.model import Algorithm, Array, PerRow, Problem
from theorysim.norms import norm
from theorysim.registry import register_algorithm
from theorysim.validation import one_of

LENGTHS = ("constant", "nuclear")


class State(NamedTuple):
    """``m``: the momentum, (rows, m, n)."""

    x: Array
    m: Array


@register_algorithm
def muon(lr: PerRow = 0.02, momentum: PerRow = 0.0, length: str = "constant") -> Algorithm:
    """Steps along the polar factor U Z' of the averaged gradient U diag(s) Z'.

    M_t = momentum M_{t-1} + (1 - momentum) G_t,  W_{t+1} = W_t - lr c_t polar(M_t), with M_0 = 0.

    ``lr``: in units of W, or of W over gradient for ``length="nuclear"``. ``momentum``: in [0, 1). ``length``: c_t is 1
    (``"constant"``), or the nuclear norm of M_t (``"nuclear"``): steepest descent in the spectral norm, with lr 1/L_nuclearnorm.
    Raises TheorysimError unless the iterates are matrices. [Jordan et al. 2024, recalled; the nuclear length derived]
    """
    one_of("length", length, LENGTHS)

    def init(problem: Problem, x0: Array) -> State:
        require_matrices("muon", x0)
        return State(x0, namespace(x0).zeros_like(x0))

    def step(state: State, oracle: Any) -> State:
        m = momentum * state.m + (1 - momentum) * oracle.sample(state.x)
        scale = namespace(m).reshape(norm(m, "nuclear"), (-1, 1, 1)) if length == "nuclear" else 1.0
        return State(state.x - lr * scale * polar(m), m)

    return Algorithm(init, step)

"""ASGO as its authors' code has it: moving averages, an approximate root, steps of fixed length."""

from __future__ import annotations

from typing import Any, NamedTuple

from theorysim.algorithms._matrices import SIDES, require_matrices, seen_from
from theorysim.algorithms._practical import clipped, moved, of_fixed_length
from theorysim.backend import namespace
from theorysim.matrix_functions import identity_like, transposed
from theorysim.matrix_iterations import ROOTS, checked_inverse_root, inverse_root
from theorysim.model import Algorithm, Array, PerRow, Problem
from theorysim.registry import register_algorithm
from theorysim.schedules import schedule as step_schedule
from theorysim.validation import one_of, positive_integer


class State(NamedTuple):
    """``m``: M_t (rows, m, n). ``P``: P_t, (rows, k, k). ``root``: of the P of an earlier step, kept if tau > 1."""

    x: Array
    m: Array
    P: Array
    root: Array
    t: int


@register_algorithm
def asgo_practical(
    lr: PerRow = 0.02,
    momentum: PerRow = 0.9,
    decay: PerRow = 0.8,
    side: str = "smaller",
    root: str = "polar_express",
    tau: int = 1,
    normalize: bool = True,
    weight_decay: PerRow = 0.0,
    clip: PerRow = None,
    schedule: str = "constant",
) -> Algorithm:
    """ASGO with moving averages and steps of fixed length, as its authors' code has it. The theory is about asgo, not about this.

    M_t = momentum M_{t-1} + (1 - momentum) G_t,  P_t = decay P_{t-1} + (1 - decay) G_t G_t', both from 0, no bias correction;
    W_{t+1} = (1 - lr_t weight_decay) W_t - lr_t c_t P_t^{-1/2} M_t, with c_t such that |c_t P_t^{-1/2} M_t|_F = 0.2 sqrt(mn).

    ``lr``: times s(t) by ``schedule`` (schedules.py) it is lr_t, in units of W. ``momentum``, ``decay``: in [0, 1). ``side``: P
    from the ``left``, from the ``right`` (G' G, M P^{-1/2}), or on the ``smaller`` one (right if square). ``root``:
    ``polar_express``, ten quintics, which regularise by being few (no ridge is added); ``coupled_newton`` and
    ``newton_schulz``, checked, with the eigendecomposition where they fail; ``eigh``, the pseudo-inverse. A root that is not
    finite counts as the identity. ``tau``: the root is computed at steps 1, 1 + tau, 1 + 2 tau, ... and used until the next.
    ``normalize=False``: c_t = 1, and lr is in units of W. ``clip``: largest Frobenius norm of G_t, or None. An update of 0 is
    skipped, not the weight decay. The code itself has tau 1, weight_decay 0.1, clip 1, schedule "cosine:T,0.1,0.02".
    Raises TheorysimError unless the iterates are matrices. [An, Liu, Pan, Ren, Ma, Goldfarb, Zhang 2025, the authors' code;
    tau after a public summary of the paper]
    """
    one_of("side", side, ("smaller", *SIDES))
    one_of("root", root, ROOTS)
    one_of("normalize", normalize, (True, False))
    every, factor = positive_integer("tau", tau), step_schedule(schedule)

    def init(problem: Problem, x0: Array) -> State:
        require_matrices("asgo_practical", x0)
        xp, seen = namespace(x0), seen_from(_chosen(side, x0), x0)
        P = xp.zeros_like(seen @ transposed(seen))
        return State(x0, xp.zeros_like(x0), P, P if every > 1 else None, 0)

    def step(state: State, oracle: Any) -> State:
        t, chosen = state.t + 1, _chosen(side, state.x)
        g = clipped(oracle.sample(state.x), clip)
        seen = seen_from(chosen, g)
        m = momentum * state.m + (1 - momentum) * g
        P = decay * state.P + (1 - decay) * (seen @ transposed(seen))
        inverse = _inverse(P, root) if state.t % every == 0 else state.root
        update = seen_from(chosen, inverse @ seen_from(chosen, m))
        if normalize:
            update = of_fixed_length(update)
        return State(moved(state.x, update, lr * factor(t), weight_decay), m, P, inverse if every > 1 else None, t)

    return Algorithm(init, step)


def _chosen(side: str, x: Array) -> str:
    return ("left" if x.shape[1] < x.shape[2] else "right") if side == "smaller" else side


def _inverse(P: Array, root: str) -> Array:
    """P^{-1/2}, ``(rows, k, k)``; the identity where that is not finite."""
    xp = namespace(P)
    plain = root in ("eigh", "polar_express")
    found = inverse_root(P, 2, root) if plain else checked_inverse_root(P, 2, root).value
    usable = xp.all(xp.isfinite(found), axis=(1, 2), keepdims=True)
    return xp.where(usable, found, identity_like(P))

"""Katyusha without an inner loop: L-SVRG with negative momentum."""

from __future__ import annotations

from typing import Any, NamedTuple

from theorysim.algorithms._agents import mean
from theorysim.algorithms._pooled import at_all, averaged, estimate, full_gradient, katyusha_weights, refreshed, start
from theorysim.model import Algorithm, Array, PerRow, Problem
from theorysim.registry import register_algorithm


class State(NamedTuple):
    """``x``: y. ``z``, ``snapshot``: w; all ``(rows, d)``. ``full``: grad f_i(w) of every agent, ``(rows, m, d)``."""

    x: Array
    z: Array
    snapshot: Array
    full: Array


@register_algorithm
def katyusha(
    batch: int,
    chance: PerRow,
    lr: PerRow = None,
    theta_1: PerRow = None,
    theta_2: PerRow = None,
    smoothness: PerRow = "L_g",
    smoothness_s: PerRow = "L_s",
    mu: PerRow = "mu",
    importance: bool = False,
) -> Algorithm:
    """Loopless Katyusha, the agents of the finite sum all at one point.

    x = theta_1 z + theta_2 w + (1 - theta_1 - theta_2) y,   v as in ``l_svrg`` at (x, w),
    z <- (z + a mu x - a v)/(1 + a mu),   y <- x + theta_1 (new z - z),   w <- old y with probability ``chance``,

    from z = w = y = x_0; y is put out. ``lr``: a, in units of x over gradient. With p = chance, L_g = smoothness, L_s =
    smoothness_s, and kappa the same over mu, what is not given is theta_2 = p/2, theta_1 = min(1/2, sqrt(2/M)) with M = kappa_g +
    2 kappa_s/(b p), a = 1/(theta_1 (L_g + L_s/(b theta_2))); theta_2 = 1/2 would not reach the rate on large pools. ``batch``,
    ``importance`` and the costs: as in ``l_svrg``; with importance take smoothness_s="L_s_importance". Raises TheorysimError for
    a chance outside [0, 1], or of 0 where weights follow from it.
    [Kovalev, Horvath, Richtarik 2020, recalled; weights and constants derived]
    """
    weights = katyusha_weights(batch, chance, (theta_1, theta_2, lr), smoothness, smoothness_s, mu)
    method = averaged(batch, chance, importance, **weights)
    t1, t2, a = method.theta_1, method.theta_2, method.lr

    def init(problem: Problem, x0: Array) -> State:
        return State(x0, x0, x0, start(problem, x0))

    def step(state: State, oracle: Any) -> State:
        agents = state.full.shape[1]
        x = t1 * state.z + t2 * state.snapshot + (1 - t1 - t2) * state.x
        v = estimate(oracle, method, at_all(x, agents), at_all(state.snapshot, agents), state.full)
        z = (state.z + a * mu * x - a * mean(v)) / (1 + a * mu)
        snapshot, full = refreshed(oracle, method, state.x, state.snapshot, state.full, full_gradient(oracle, agents))
        return State(x + t1 * (z - state.z), z, snapshot, full)

    return Algorithm(init, step, requires=("finite_sum",), pooled=method)

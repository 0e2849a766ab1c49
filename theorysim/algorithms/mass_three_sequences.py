"""MaSS with three sequences, the form of its proofs."""

from __future__ import annotations

from typing import Any, NamedTuple

from theorysim.model import Algorithm, Array, LinearMethod, PerRow, Problem
from theorysim.registry import register_algorithm


class State(NamedTuple):
    """``auxiliary``: the sequence v, (rows, *shape)."""

    x: Array
    auxiliary: Array


@register_algorithm
def mass_three_sequences(
    lr: PerRow = "1/L_m",
    alpha: PerRow = "1/sqrt(kappa_m*kappa_tilde_m)",
    delta: PerRow = "1/(lambda_min*sqrt(kappa_m*kappa_tilde_m))",
) -> Algorithm:
    """MaSS with three sequences, the form of its proofs; also for problems that are no quadratics.

    u_t = (alpha v_t + w_t)/(1 + alpha),  w_{t+1} = u_t - lr g_t,  v_{t+1} = (1 - alpha) v_t + alpha u_t - delta g_t,
    with v_1 = w_1 and g_t a stochastic gradient at u_t.

    It is ``mass`` with eta_2 = (lr - alpha delta)/(1 + alpha), and v = w + (1 + alpha)/alpha (u - w). ``lr``, ``delta``: in units
    of w over gradient; ``alpha``: without unit. The defaults, alpha = 1/S and delta = alpha/mu, are those of the theory for
    least squares that interpolate. For a mu-strongly convex, L-smooth f with E |g|^2 <= rho |grad f|^2:
    lr = 1/(rho L), alpha = sqrt(mu/L)/rho, delta = alpha/mu (derived). [Liu, Belkin 2020, recalled and derived again]
    """

    def init(problem: Problem, x0: Array) -> State:
        return State(x0, x0)

    def step(state: State, oracle: Any) -> State:
        u = (alpha * state.auxiliary + state.x) / (1 + alpha)
        g = oracle.sample(u)
        return State(u - lr * g, (1 - alpha) * state.auxiliary + alpha * u - delta * g)

    kick = alpha * (delta - lr) / (1 + alpha)
    gamma, friction = (1 - alpha) / (1 + alpha), 2 * alpha / (1 + alpha)
    return Algorithm(init, step, linear=LinearMethod(lr, gamma, look_ahead=1.0, kick=kick, friction=friction))

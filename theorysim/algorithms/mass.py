"""MaSS: Nesterov's method with a compensation term for stochastic gradients."""

from __future__ import annotations

from theorysim.algorithms._look_ahead import following
from theorysim.model import Algorithm, LinearMethod, PerRow
from theorysim.registry import register_algorithm


@register_algorithm
def mass(
    lr: PerRow = "1/L_m", alpha: PerRow = "1/sqrt(kappa_m*kappa_tilde_m)", kappa_tilde: PerRow = "kappa_tilde_m"
) -> Algorithm:
    """Momentum-added stochastic solver: Nesterov's method with a compensation term.

    w_{t+1} = u_t - lr g_t,  u_{t+1} = (1 + gamma) w_{t+1} - gamma w_t + eta_2 g_t, with u_1 = w_1 and g_t a stochastic gradient
    at u_t; gamma = (1 - alpha)/(1 + alpha),  eta_2 = lr (1 - 1/kappa_tilde)/(1 + alpha).

    In terms of z = u - w: z_{t+1} = gamma z_t - k g_t with k = gamma lr - eta_2 = lr (1/kappa_tilde - alpha)/(1 + alpha).
    ``lr``: eta_1, in units of w over gradient. ``alpha``, ``kappa_tilde``: without unit; kappa_tilde = 1 leaves no compensation
    (eta_2 = 0), the method ``nesterov`` with momentum gamma. The defaults are those of the theory for least squares that
    interpolate, with the constants of ``least_squares`` for minibatches of m.
    [Liu, Belkin 2020, update rule; the weights recalled and derived again]
    """
    kick = lr * (1 / kappa_tilde - alpha) / (1 + alpha)
    gamma, friction = (1 - alpha) / (1 + alpha), 2 * alpha / (1 + alpha)
    return following(LinearMethod(lr, gamma, look_ahead=1.0, kick=kick, friction=friction))

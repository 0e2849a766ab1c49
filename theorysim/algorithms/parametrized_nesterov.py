"""Nesterov's method with the condition number as a free parameter."""

from __future__ import annotations

from theorysim.algorithms._look_ahead import following, require, root
from theorysim.model import Algorithm, LinearMethod, PerRow
from theorysim.registry import register_algorithm


@register_algorithm
def parametrized_nesterov(kappa_a: PerRow, lr: PerRow = "1/lambda_max") -> Algorithm:
    """Nesterov's method with a momentum made from an assumed condition number.

    u_t = w_t + theta (w_t - w_{t-1}),  w_{t+1} = u_t - lr g(u_t), with w_0 = w_1 and
    theta = (sqrt(kappa_a) - 1)/(sqrt(kappa_a) + 1).

    ``kappa_a``: the assumed condition number, at least 1, without unit; 1 is gradient descent. ``lr``: eta, in units of w over
    gradient. In the paper's letters y_t is our w and x_t our u. Raises TheorysimError for kappa_a below 1.
    [Liu, Belkin 2018, Parametrized accelerated methods free of condition number; after Nesterov 2004, recalled]
    """
    require("kappa_a", kappa_a, "a number of at least 1", lambda values: values >= 1)
    ahead = root(kappa_a) + 1
    theta, friction = (root(kappa_a) - 1) / ahead, 2 / ahead
    return following(LinearMethod(lr, theta, look_ahead=1.0, friction=friction))

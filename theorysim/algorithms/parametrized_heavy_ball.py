"""The heavy-ball method with the condition number as a free parameter."""

from __future__ import annotations

from theorysim.algorithms._look_ahead import following, require, root
from theorysim.model import Algorithm, LinearMethod, PerRow
from theorysim.registry import register_algorithm


@register_algorithm
def parametrized_heavy_ball(kappa_a: PerRow, lr: PerRow = "1/lambda_max") -> Algorithm:
    """Heavy ball with the step size and the momentum of an assumed condition number.

    w_{t+1} = w_t - (1 + sqrt b)^2 lr g_t + b (w_t - w_{t-1}), with w_0 = w_1 and
    sqrt b = (sqrt(kappa_a) - 1)/(sqrt(kappa_a) + 1).

    ``kappa_a``: the assumed condition number, at least 1, without unit; 1 is gradient descent, the true one is Polyak's optimal
    pair. ``lr``: in units of w over gradient, 1/L in the theory; a gradient is multiplied by (1 + sqrt b)^2, up to 4, times as
    much. Raises TheorysimError for kappa_a below 1.
    [Liu, Belkin 2018, Parametrized accelerated methods free of condition number; after Polyak 1964, recalled]
    """
    require("kappa_a", kappa_a, "a number of at least 1", lambda values: values >= 1)
    ahead = root(kappa_a) + 1
    b_root = (root(kappa_a) - 1) / ahead
    friction = 2 / ahead * (1 + b_root)  # 1 - b = (1 - sqrt b)(1 + sqrt b)
    return following(LinearMethod((1 + b_root) * (1 + b_root) * lr, b_root * b_root, friction=friction))

"""The triple momentum method."""

from __future__ import annotations

from theorysim.algorithms._look_ahead import following, require
from theorysim.model import Algorithm, LinearMethod, PerRow
from theorysim.registry import register_algorithm


@register_algorithm
def triple_momentum(
    rho: PerRow = "1 - sqrt(lambda_min/lambda_max)", lr: PerRow = "(2 - sqrt(lambda_min/lambda_max))/lambda_max"
) -> Algorithm:
    """The triple momentum method, of rate 1 - 1/sqrt(kappa) for smooth and strongly convex functions.

    xi_{t+1} = (1 + beta) xi_t - beta xi_{t-1} - lr g_t, with g_t a stochastic gradient at y_t = (1 + gamma) xi_t - gamma xi_{t-1}
    and xi_0 = xi_1. Put out is x_t = (1 + delta) xi_t - delta xi_{t-1}. The weights are beta = rho^2/(2 - rho),
    gamma = beta/(1 + rho),  delta = rho^2/(1 - rho^2).

    ``rho``: the rate of |xi_t - x*|, in [0, 1), without unit. ``lr``: (1 + rho)/L in the theory, in units of w over gradient. The
    current iterate, ``state.x``, is xi_t. Raises TheorysimError for another rho. [Van Scoy, Freeman, Lynch 2018, recalled]
    """
    require("rho", rho, "a number of at least 0 and below 1", lambda values: (values >= 0) & (values < 1))
    # In terms of z = beta (xi_t - xi_{t-1}); gamma/beta and delta/beta stay finite at rho = 0.
    look_ahead, output = 1 / (1 + rho), (2 - rho) / ((1 - rho) * (1 + rho))
    friction = (1 - rho) * (2 + rho) / (2 - rho)
    return following(LinearMethod(lr, rho * rho / (2 - rho), look_ahead=look_ahead, friction=friction, output=output))

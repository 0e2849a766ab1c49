"""D-NASA: normalised steps along moving averages, with no constant of the problem in the step sizes."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from theorysim.algorithms._agents import everywhere, mean, over_agents, require_samples
from theorysim.backend import namespace
from theorysim.model import Algorithm, Array, PerRow, Problem
from theorysim.registry import register_algorithm
from theorysim.validation import one_of, positive_integer


class State(NamedTuple):
    """``agents``: X, ``z``: the moving averages Z, (rows, m, d), None before they are first drawn. ``alpha``, ``gamma``: the
    weight and the step length in use."""

    agents: Array
    z: Array
    alpha: PerRow
    gamma: PerRow

    @property
    def x(self) -> Array:
        return mean(self.agents)


@register_algorithm
def d_nasa(
    horizon: int,
    alpha_0: PerRow = 1.0,
    gamma_0: PerRow = 1.0,
    start: str = "fresh",
    alpha: PerRow = None,
    gamma: PerRow = None,
) -> Algorithm:
    """Decentralised normalised averaged stochastic approximation.

    X_{t+1} = W (X_t - gamma D_t),   Z_{t+1} = W ((1 - alpha) Z_t + alpha g_t),

    row i of D_t being z_i/|z_i|_2 (0 for z_i = 0) and of g_t a stochastic gradient of f_i at agent i's point before the step;
    alpha = min(1, alpha_0 sqrt(m/T)) and gamma = gamma_0 m^(1/4) / T^(3/4) for m agents and T = ``horizon`` steps.

    ``alpha_0``: without unit. ``gamma_0``: in units of w. ``start``: Z_0 is a sample of its own at x_0, not mixed
    (``"fresh"``, asked for and counted in the first step), or 0 (``"zero"``: the first step does not move). ``alpha``,
    ``gamma``: used in place of the two formulas, where given; alpha = 1 leaves no average. A step costs two rounds of gossip and
    one stochastic gradient of every agent: the problem's own, or of one component drawn uniformly. Raises TheorysimError for
    another start and for a horizon that is not a positive integer. [Li, Chen, Ma, Hong 2024, from the authors' code, restated;
    there z_0 = 0 and alpha_0 = 0.3]
    """
    steps, begin = positive_integer("horizon", horizon), one_of("start", start, ("fresh", "zero"))

    def init(problem: Problem, x0: Array) -> State:
        require_samples("d_nasa", problem)
        x = everywhere(problem, x0)
        weight = _at_most_one(alpha_0 * math.sqrt(x.shape[1] / steps)) if alpha is None else alpha
        length = gamma_0 * x.shape[1] ** 0.25 / steps**0.75 if gamma is None else gamma
        z = None if begin == "fresh" else namespace(x).zeros_like(x)
        return State(x, z, over_agents(weight), over_agents(length))

    def step(state: State, oracle: Any) -> State:
        z = oracle.local_sample(state.agents) if state.z is None else state.z
        g = oracle.local_sample(state.agents)
        x = oracle.mix(state.agents - state.gamma * _directions(z))
        return State(x, oracle.mix((1 - state.alpha) * z + state.alpha * g), state.alpha, state.gamma)

    return Algorithm(init, step, requires=("network",))


def _directions(z: Array) -> Array:
    """z_i/|z_i|_2, 0 for z_i = 0."""
    xp = namespace(z)
    length = xp.sqrt(xp.sum(z * z, axis=2, keepdims=True))
    return z / xp.where(length == 0, xp.ones_like(length), length)


def _at_most_one(weight: PerRow) -> PerRow:
    """The smaller of 1 and the weight, a number or (rows, 1)."""
    if hasattr(weight, "shape") and weight.shape:
        xp = namespace(weight)
        return xp.where(weight > 1, xp.ones_like(weight), weight)
    return 1.0 if weight > 1 else weight

"""Gradient tracking."""

from __future__ import annotations

from typing import Any, NamedTuple

from theorysim.algorithms._agents import everywhere, mean, over_agents
from theorysim.model import Algorithm, Array, PerRow, Problem
from theorysim.registry import register_algorithm
from theorysim.validation import one_of


class State(NamedTuple):
    """``agents``: X, ``tracker``: S, whose mean over agents is that of ``gradient``: G at X; all (rows, m, d)."""

    agents: Array
    tracker: Array
    gradient: Array

    @property
    def x(self) -> Array:
        return mean(self.agents)


@register_algorithm
def gradient_tracking(lr: PerRow, form: str = "diging") -> Algorithm:
    """Gradient tracking: every agent follows the mean of all gradients.

    ``form="diging"``:  X_{t+1} = W X_t - lr S_t,    S_{t+1} = W S_t + G_{t+1} - G_t;
    ``form="atc"``:     X_{t+1} = W (X_t - lr S_t),  S_{t+1} = W (S_t + G_{t+1} - G_t),

    row i of G_t being grad f_i at agent i's own point, S_0 = G_0. ATC: adapt, then combine. ``lr``: alpha, in units of w over
    gradient. A step costs two rounds of gossip and a local gradient of every agent; G_0 is not counted. Raises TheorysimError
    for another form. [DIGing: Nedic, Olshevsky, Shi 2017; ATC: Xu et al. 2015, Di Lorenzo, Scutari 2016; all recalled]
    """
    alpha, adapt_first = over_agents(lr), one_of("form", form, ("diging", "atc")) == "atc"

    def init(problem: Problem, x0: Array) -> State:
        x = everywhere(problem, x0)
        gradient = problem.capabilities["finite_sum"].local_gradient(x)
        return State(x, gradient, gradient)

    def step(state: State, oracle: Any) -> State:
        descent = -alpha * state.tracker
        x = oracle.mix(state.agents + descent) if adapt_first else oracle.mix(state.agents) + descent
        gradient = oracle.local_gradient(x)
        change = gradient - state.gradient
        tracker = oracle.mix(state.tracker + change) if adapt_first else oracle.mix(state.tracker) + change
        return State(x, tracker, gradient)

    return Algorithm(init, step, requires=("network", "finite_sum"))

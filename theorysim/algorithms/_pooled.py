"""What the variance-reduced methods on a pool share: the estimate of the gradient, snapshots, the weights of Katyusha.

All agents draw with one seed, so each knows the whole draw without a word. ``x``, ``snapshot``: ``(rows, m, d)``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import array_api_compat

from theorysim import gossip
from theorysim.agents import PooledMethod
from theorysim.algorithms._agents import over_agents
from theorysim.backend import namespace
from theorysim.model import Array, PerRow, Problem, TheorysimError
from theorysim.validation import one_of, positive_integer

ESTIMATORS = ("pool", "local")
MIXING = ("fast", "plain")


def averaged(batch: int, chance: PerRow, importance: bool, **weights: Any) -> PooledMethod:
    """The method with exact averages over agents; TheorysimError for what is not allowed."""
    if isinstance(chance, int | float) and not 0 <= chance <= 1:
        raise TheorysimError(f"chance={chance} is not allowed; give a probability, from 0 to 1")
    return PooledMethod(batch=positive_integer("batch", batch), chance=chance, importance=importance, **weights)


def of_agents(
    batch: int, chance: PerRow, rounds: int, importance: bool, estimator: str, mixing: str, **weights: Any
) -> PooledMethod:
    """The method of agents that mix; TheorysimError for what is not allowed."""
    local = one_of("estimator", estimator, ESTIMATORS) == "local"
    if local and importance:
        raise TheorysimError("estimator='local' draws uniformly; take estimator='pool' with importance=True")
    fast = one_of("mixing", mixing, MIXING) == "fast"
    return averaged(batch, chance, importance, local=local, rounds=positive_integer("rounds", rounds), fast=fast, **weights)


def estimate(oracle: Any, method: PooledMethod, x: Array, snapshot: Array, full: Array) -> Array:
    """v_i = grad f_i(w_i) + (m/b) sum_j [xi_ij/(N q_ij)] (grad f_ij(x_i) - grad f_ij(w_i)), ``(rows, m, d)``.

    ``full``: grad f_i(w_i). The draw xi is the same for all agents; agent i's own batch b_i is random and may be empty, and
    dividing by it in place of b/m would bias v_i. So E v_i = grad f_i(x_i).
    """
    agents = x.shape[1]
    if method.local:
        weights = oracle.draw_local(method.share(agents))
    else:
        weights = oracle.draw_pool(method.batch, method.importance)
        if method.importance:
            weights = weights / _relative_chances(oracle.problem, weights)
    change = oracle.weighted_gradient(x, weights) - oracle.weighted_gradient(snapshot, weights)
    return full + (agents / method.batch) * change


def _relative_chances(problem: Problem, like: Array) -> Array:
    """N q_ij, on the device of the draw."""
    chances = problem.capabilities["finite_sum"].chances(True)
    return namespace(like).asarray(chances.size * chances, device=array_api_compat.device(like))


def refreshed(
    oracle: Any, method: PooledMethod, x: Array, snapshot: Array, full: Array, gradient: Callable[..., Array]
) -> tuple[Array, Array]:
    """The snapshot and its gradients ``full``: with probability p ``x``, ``(rows, [m,] d)``, and ``gradient(x, among)``, which
    charges the rows ``among`` alone."""
    heads = oracle.coin(method.chance)
    fell = heads[:, None] if len(x.shape) == 2 else heads[:, None, None]
    xp = namespace(x)
    return xp.where(fell, x, snapshot), xp.where(heads[:, None, None], gradient(x, heads), full)


def mixer(oracle: Any, method: PooledMethod) -> Callable[[Array], Array]:
    """The rounds of gossip that every variable goes through."""
    rounds = method.rounds or 0
    if not method.fast:
        return lambda x: gossip.plain(oracle.mix, x, rounds)
    lambda_2 = oracle.problem.capabilities["network"].lambda_2
    return lambda x: gossip.fast_mix(oracle.mix, x, rounds, lambda_2)


def katyusha_weights(
    batch: int, chance: PerRow, given: tuple[PerRow, PerRow, PerRow], smoothness: PerRow, smoothness_s: PerRow, mu: PerRow
) -> dict[str, PerRow]:
    """theta_1, theta_2 and lr: those ``given`` in this order, and for each None

    theta_2 = p/2,  M = kappa_g + 2 kappa_s/(b p),  theta_1 = min(1/2, sqrt(2/M)),  lr = 1/(theta_1 (L_g + L_s/(b theta_2))).
    """
    theta_1, theta_2, lr = given
    if any(each is None for each in given) and isinstance(chance, int | float) and chance <= 0:
        raise TheorysimError(f"chance={chance} leaves the weights without a value; give one above 0, or theta_1, theta_2 and lr")
    if theta_2 is None:
        theta_2 = chance / 2
    if theta_1 is None:
        theta_1 = _at_most_half((2 / ((smoothness + 2 * smoothness_s / (batch * chance)) / mu)) ** 0.5)
    if lr is None:
        lr = 1 / (theta_1 * (smoothness + smoothness_s / (batch * theta_2)))
    return {"theta_1": theta_1, "theta_2": theta_2, "lr": lr, "mu": mu}


def _at_most_half(value: PerRow) -> PerRow:
    return namespace(value).where(value < 0.5, value, 0.5) if hasattr(value, "shape") else min(0.5, value)


def for_agents(*values: PerRow) -> tuple[PerRow, ...]:
    """Numbers as they stand, ``(rows, 1)`` arrays as ``(rows, 1, 1)``."""
    return tuple(over_agents(each) for each in values)


# ------------------------------------------------------------------------------------------------ agents at one point
def at_all(x: Array, agents: int) -> Array:
    """1 x: the point ``(rows, d)`` at every agent, ``(rows, m, d)``."""
    xp, (rows, dim) = namespace(x), x.shape
    return xp.asarray(xp.broadcast_to(x[:, None, :], (rows, agents, dim)), copy=True)


def start(problem: Problem, x0: Array) -> Array:
    """grad f_i(x_0) of every agent, not charged, ``(rows, m, d)``."""
    parts = problem.capabilities["finite_sum"]
    gradient: Array = parts.local_gradient(at_all(x0, parts.agents))
    return gradient


def full_gradient(oracle: Any, agents: int) -> Callable[[Array, Array], Array]:
    """grad f_i(x) of every agent, charged to some rows."""
    return lambda x, among: oracle.local_gradient(at_all(x, agents), among)

"""What a step of a variance-reduced method costs the agents on average."""

from __future__ import annotations

import numpy as np

from theorysim.agents import PooledMethod
from theorysim.moments.pooled_maps import Coordinates, Floats


def component_calls(data: Coordinates, method: PooledMethod, chance: float) -> float:
    """2 b + p N: component gradients of all agents together."""
    return float(2 * method.batch + chance * data.components * data.shares.shape[1])


def computation_time(data: Coordinates, method: PooledMethod, chance: float) -> float:
    """2 E max_i b_i + p n: those of the slowest agent."""
    agents = data.shares.shape[1]
    load = method.share(agents) if method.local else expected_maximum(method.batch, _agent_chances(data))
    return 2 * load + chance * data.components


def rounds(data: Coordinates, method: PooledMethod, chance: float) -> float:
    """Products with W: as many for each of two mixed variables, or three."""
    return (method.rounds or 0) * (2 if method.theta_1 is None else 3)


def _agent_chances(data: Coordinates) -> Floats:
    """That a draw falls to agent i: n_ik components of coordinate k, each with chance 1/(N weight_k)."""
    chances: Floats = (data.times / data.weight) @ data.shares / data.shares.shape[1]
    return chances


def expected_maximum(draws: int, chances: Floats) -> float:
    """E max_i b_i of b ~ Multinomial(draws, chances): P(max < k) from independent Poisson counts given their sum."""
    counts = np.arange(draws + 1)
    log_factorial = np.concatenate([[0.0], np.cumsum(np.log(counts[1:]))])
    mean = draws * np.asarray(chances)[:, None]
    poisson = np.where(mean > 0, np.exp(counts * np.log(np.where(mean > 0, mean, 1.0)) - mean - log_factorial), counts == 0)
    total, expected = float(np.exp(draws * np.log(draws) - draws - log_factorial[-1])), 0.0
    for k in range(draws):
        ways = np.ones(1)
        for each in poisson:
            ways = np.convolve(ways, each[: k + 1])[: draws + 1]
        below = ways[draws] / total if len(ways) > draws else 0.0
        expected += 1 - below
        if below > 1 - 1e-13:
            break
    return expected

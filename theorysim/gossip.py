"""Mixing over many rounds: plain gossip, and the accelerated one with its memory.

``mix``: one round, X -> W X for X ``(rows, agents, d)``, for instance ``oracle.mix``.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from theorysim.model import Array

Mix = Callable[[Array], Array]


def plain(mix: Mix, x: Array, rounds: int) -> Array:
    """W^rounds X."""
    for _ in range(rounds):
        x = mix(x)
    return x


def fast_mix(mix: Mix, x: Array, rounds: int, lambda_2: float) -> Array:
    """FastMix: X^{k+1} = (1 + e) W X^k - e X^{k-1}, X^{-1} = X^0 = X, e = (1 - s)/(1 + s), s = sqrt(1 - lambda_2^2).

    The mean over agents is kept. For W with spectrum in [0, lambda_2] and 1, differences shrink by at most
    ``contraction(rounds, lambda_2)``. [Ye and others, recalled; the bound derived]
    """
    weight, before = memory_weight(lambda_2), x
    for _ in range(rounds):
        before, x = x, (1 + weight) * mix(x) - weight * before
    return x


def memory_weight(lambda_2: float) -> float:
    """The weight e of the memory: (1 - s)/(1 + s) = r^2, r = lambda_2/(1 + s)."""
    return (lambda_2 / (1 + math.sqrt(1 - lambda_2**2))) ** 2


def contraction(rounds: int, lambda_2: float) -> float:
    """r^K max(sqrt 2, 1 + K (1 - r)), 1 for K = 0: what K rounds of fast_mix leave of a difference at most."""
    r = math.sqrt(memory_weight(lambda_2))
    return 1.0 if rounds == 0 else r**rounds * max(math.sqrt(2.0), 1 + rounds * (1 - r))

"""What a problem of several agents offers: a network to talk over, and a finite sum whose parts they hold.

X is ``(rows, m, d)``, one point for each of the m agents; ``1 x`` stands for the same point at all of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from theorysim.model import Array, Draw, PerRow, TheorysimError


@dataclass(frozen=True)
class Network:
    """Agents that talk along the edges of a graph: capability ``network``.

    ``mix(X, t)``: one round of gossip, W_t X; t = 1, 2, ... is the number of the round, which a network that changes or loses
    messages needs. ``weights``: W, or the mean of the W_t, host, ``(m, m)``, dense or sparse, symmetric and doubly stochastic.
    ``lambda_2``, ``lambda_min``: its second largest and its smallest eigenvalue. ``messages``: vectors sent a round, two an edge.
    ``fixed``: whether every W_t is W.
    """

    agents: int
    mix: Callable[[Array, int], Array]
    weights: Any
    lambda_2: float
    lambda_min: float
    messages: int
    fixed: bool = True

    @property
    def gap(self) -> float:
        """gamma = 1 - lambda_2."""
        return 1.0 - self.lambda_2


@dataclass(frozen=True)
class FiniteSum:
    """f = mean of f_i over m agents, f_i = mean of f_ij over n components each: capability ``finite_sum``.

    ``local_gradient(X)``: grad f_i(x_i), ``(rows, m, d)``. ``weighted_gradient(X, c)``: sum_j c_ij grad f_ij(x_i) for c
    ``(rows, m, n)``. ``draw_pool(draw, b, importance)``: how often each component is among b drawn with replacement from the
    pool of all m n, the same for all agents of a run, ``(rows, m, n)``; uniformly, or with chances that its smoothness sets.
    ``draw_local(draw, b)``: the same for b components of every agent, uniformly. ``chances(importance)``: q_ij, host, ``(m, n)``.
    ``coin(draw, p)``: heads with probability p, the same for all agents of a run, ``(rows,)`` boolean. ``share(i)``: the first
    two functions for agent i alone, ``(rows, 1, d)`` and ``(rows, 1, n)``, on a copy of its own components; None where nobody
    can run an agent by itself.
    """

    agents: int
    components: int
    local_gradient: Callable[[Array], Array]
    weighted_gradient: Callable[[Array, Array], Array]
    draw_pool: Callable[[Draw, int, bool], Array]
    draw_local: Callable[[Draw, int], Array]
    chances: Callable[[bool], Any]
    coin: Callable[[Draw, float], Array]
    share: Callable[[int], tuple[Callable[[Array], Array], Callable[[Array, Array], Array]]] | None = None


@dataclass(frozen=True)
class PooledMethod:
    """A variance-reduced method with one batch from the pool of all components: what exact second moments have to know of it.

    L-SVRG with step ``lr`` (eta), or loopless Katyusha where ``theta_1`` and ``theta_2`` are given; then ``lr`` is a, next to
    ``mu``. ``batch``: b components a step, drawn with replacement from the pool, by their smoothness under ``importance``; with
    ``local`` b/m from each agent instead. ``chance``: of a new snapshot. ``rounds``: of gossip for every variable that is mixed,
    accelerated or plain (``fast``), or None for exact averages. ``tracking``: whether agents track the mean gradient; if not
    they mix their own estimates. The numbers are floats or ``(rows, 1)`` arrays.
    """

    lr: PerRow
    batch: int
    chance: PerRow
    theta_1: PerRow = None
    theta_2: PerRow = None
    mu: PerRow = 0.0
    importance: bool = False
    local: bool = False
    rounds: int | None = None
    fast: bool = True
    tracking: bool = True

    def share(self, agents: int) -> int:
        """b/m, the batch of one agent under ``local``; TheorysimError unless m divides b."""
        if self.batch % agents:
            raise TheorysimError(
                f"estimator='local' draws equal batches from {agents} agents, and batch={self.batch} is no multiple of {agents}; "
                "give a multiple, or estimator='pool'"
            )
        return self.batch // agents


@dataclass(frozen=True)
class PooledCoordinates:
    """A finite sum of one-dimensional quadratics: capability ``pooled_coordinates``, what its exact second moments are made of.

    Component: (d h_k/2) (q_k'x - c)^2 for one of d orthonormal directions q_k; all on the host. ``h``: curvatures of f, ``(d,)``.
    ``counts``: n_ik, how many components of direction k agent i holds, ``(m, d)``. ``gradient_at_minimizer``: grad f_i(x*) along
    q_k, ``(m, d)``. ``error``: x_0 - x* along q_k of the first row, ``(d,)``.
    """

    h: Array
    counts: Array
    gradient_at_minimizer: Array
    error: Array

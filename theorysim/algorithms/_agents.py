"""What the methods of several agents share: X is ``(rows, m, d)``, a point for each of the m agents."""

from __future__ import annotations

from theorysim.backend import namespace
from theorysim.model import Array, PerRow, Problem, TheorysimError


def everywhere(problem: Problem, x0: Array) -> Array:
    """1 x_0: the start ``(rows, d)`` at every agent of the network, ``(rows, m, d)``."""
    xp, (rows, dim) = namespace(x0), x0.shape
    return xp.asarray(xp.broadcast_to(x0[:, None, :], (rows, problem.capabilities["network"].agents, dim)), copy=True)


def mean(x: Array) -> Array:
    """The mean over agents, ``(rows, d)``."""
    return namespace(x).mean(x, axis=1)


def over_agents(value: PerRow) -> PerRow:
    """A hyper-parameter ``(rows, 1)`` as ``(rows, 1, 1)``; a number as it stands."""
    return value[:, None, ...] if hasattr(value, "shape") and value.shape else value


def require_samples(name: str, problem: Problem) -> None:
    """TheorysimError unless the problem offers stochastic gradients of its agents."""
    if not {"local_sample", "finite_sum"} & set(problem.capabilities):
        has = ", ".join(sorted(problem.capabilities))
        raise TheorysimError(
            f"{name} needs a problem with 'local_sample' or 'finite_sum'; this one has: {has}; choose another problem"
        )

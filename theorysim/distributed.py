"""One process per agent: the algorithm of a simulation, run by processes that hold their own data and talk to neighbours.

The algorithm is the same code. X is (rows, m, d) here too, but the process of agent i knows row i alone and all other rows are
NaN: whatever uses the point or the gradient of another agent, or the mean over agents, comes out as NaN and is noticed. In place
of the product W X the process sends its own row to the neighbours of i, and weighs with row i of W what they send.

What the agents agree on before they start, besides the algorithm: x_0, the seed, the constants of the problem (m, L_g, L_s,
lambda_2 ...) and, for importance sampling, the chances of all components. The random numbers are a pure function of the seed, so
every agent works out the same draw from the pool, and the same coin, without a message.

An instance is a pure function of its Spec and the seed, and every process makes it by itself. After ``share`` the agent computes
with a copy of its own components, and nothing that it holds leads to those of others; but they were in the memory of its
process when the instance was made, and the generator may keep them. Everything is computed with NumPy.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from theorysim.agents import FiniteSum, Network
from theorysim.backend import CPU, one_blas_thread
from theorysim.build import build_algorithm, build_problem, variants
from theorysim.model import Algorithm, Array, Cell, Draw, Problem, TheorysimError
from theorysim.noise import Draws
from theorysim.oracle import Oracle
from theorysim.run import record_steps, require_steps

Floats = NDArray[np.float64]

# Sends one's own vectors (rows, d) to each of these agents, and gives what they sent, in their order.
Exchange = Callable[[Floats, Sequence[int]], list[Floats]]

_LEADER = 0  # the process that collects the points at the end


# ------------------------------------------------------------------------------------------------ what one agent has
def share(problem: Problem, agent: int, exchange: Exchange) -> Problem:
    """The problem as this agent has it: its own f_i and its neighbours, but neither f nor the minimizer.

    Raises TheorysimError for a problem whose data cannot be told apart, or whose network changes from round to round.
    """
    network, parts = _separable(problem)
    gradient, weighted = parts.share(agent)  # type: ignore[misc]
    own, m, dim = slice(agent, agent + 1), parts.agents, problem.shape[0]

    def unknown(x: Array, draw: Draw | None = None) -> Array:
        raise TheorysimError(f"agent {agent} knows its own f_{agent} alone, not f; choose a method of several agents")

    def alone(mine: Floats) -> Floats:
        """What the agent knows of a (rows, m, d) array."""
        everyone = np.full((len(mine), m, dim), np.nan)
        everyone[:, own] = mine
        return everyone

    offered = replace(
        parts,
        local_gradient=lambda x: alone(gradient(x[:, own])),
        weighted_gradient=lambda x, counts: alone(weighted(x[:, own], counts[:, own])),
        share=None,
    )
    talk = _mixing(network.weights, agent, exchange)
    net = replace(network, mix=lambda x, _: alone(talk(x[:, agent])[:, None]), weights=None)
    return replace(
        problem,
        minimizer=None,
        gap=unknown,
        gradient=unknown,
        sample=unknown,
        vectors={},
        capabilities={"network": net, "finite_sum": offered},
    )


def _separable(problem: Problem) -> tuple[Network, FiniteSum]:
    parts, network = problem.capabilities.get("finite_sum"), problem.capabilities.get("network")
    if network is None or parts is None or parts.share is None:
        raise TheorysimError(
            "agents can run by themselves on a problem that tells their data apart, such as decentralized_quadratic or "
            "decentralized_regression; choose one of these"
        )
    if not network.fixed:
        raise TheorysimError("agents can run by themselves over a network that stays as it is; leave out link_loss and changing")
    return network, parts


def _mixing(weights: Any, agent: int, exchange: Exchange) -> Callable[[Floats], Floats]:
    """x_i -> sum_k W_ik x_k over the agent itself and its neighbours."""
    row = np.asarray(weights[[agent]].toarray() if hasattr(weights, "toarray") else weights[[agent]])[0]
    own, (neighbours,) = float(row[agent]), np.nonzero(np.where(np.arange(len(row)) == agent, 0.0, row))
    names, shares = neighbours.tolist(), row[neighbours].tolist()

    def mix(mine: Floats) -> Floats:
        mixed = own * mine
        for weight, theirs in zip(shares, exchange(mine, names), strict=True):
            mixed = mixed + weight * theirs
        return mixed

    return mix


class Walk(NamedTuple):
    """``points``: of the agents asked for, at the recorded steps, (records, rows, agents, d). ``calls``: the oracle's counts, of
    all agents together, which each of them can work out; ``rows`` of them where they differ by row."""

    points: Floats
    calls: dict[str, Any]


def walk(problem: Problem, algorithm: Algorithm, steps: Sequence[int], who: slice = slice(None)) -> Walk:
    """Run up to the last of ``steps``, ascending; on a whole problem this is the batched simulation, on a share one agent."""
    oracle, state, points, wanted = Oracle(problem), algorithm.init(problem, problem.start), [], set(steps)
    if not hasattr(state, "agents"):
        raise TheorysimError(f"{type(state).__module__} keeps one point for all agents; choose a method of several agents")
    with np.errstate(all="ignore"):
        for t in range(steps[-1] + 1):
            if t > 0:
                oracle.begin(t)
                state = algorithm.step(state, oracle)
            if t in wanted:
                points.append(state.agents[:, who])
    return Walk(np.stack(points), dict(oracle.calls))


# ------------------------------------------------------------------------------------------------ message passing
def world() -> Any:
    """The communicator of all processes that mpiexec started; TheorysimError without mpi4py or an MPI library."""
    try:
        from mpi4py import MPI
    except (ImportError, RuntimeError) as error:
        raise TheorysimError(f"agents talk over MPI, which is not here ({error}); pip install 'theorysim[mpi]'") from None
    return MPI.COMM_WORLD


class Post:
    """Messages between two processes at a time, over MPI; the process of rank i is agent i. ``sent``: how many vectors went to
    each agent."""

    def __init__(self, communicator: Any) -> None:
        self.communicator = communicator
        self.sent: Counter[int] = Counter()

    def __call__(self, own: Floats, neighbours: Sequence[int]) -> list[Floats]:
        """Send and receive at once: no order of the processes can block. Messages of a pair arrive in the order sent."""
        out, received = np.ascontiguousarray(own), [np.empty(own.shape) for _ in neighbours]
        waiting = [self.communicator.Irecv(each, source=k) for each, k in zip(received, neighbours, strict=True)]
        waiting += [self.communicator.Isend(out, dest=k) for k in neighbours]
        for request in waiting:
            while not request.Test():
                time.sleep(0)  # where there are fewer cores than agents, the others have to get on for a message to come
        self.sent.update(neighbours)
        return received


def over_mpi(communicator: Any) -> Post:
    """The exchange between the processes of an MPI communicator."""
    return Post(communicator)


# ------------------------------------------------------------------------------------------------ all of them
class Gathered(NamedTuple):
    """``steps`` recorded; ``points``: (records, rows, m, d); ``calls``: the oracle's counts; ``sent``: how many vectors agent i
    sent to agent k, (m, m)."""

    steps: NDArray[np.int64]
    points: Floats
    calls: dict[str, Any]
    sent: NDArray[np.int64]


def run_agents(cell: Cell, communicator: Any) -> Gathered | None:
    """Run the cell by the processes of ``communicator``, one an agent; the collected points in the process of rank 0, else None.

    Before they start the processes tell each other whether all of them can, and at the end they hand in their points; in between
    there are messages between neighbours only. Raises TheorysimError, in every process, for a number of processes that is not m
    and for what else is not allowed. A process that fails on its own must end the others by ``communicator.Abort``.
    """
    agent = int(communicator.Get_rank())
    post = over_mpi(communicator)
    mine, algorithm, steps = agreed(communicator, lambda: _prepared(cell, agent, communicator.Get_size(), post))
    with one_blas_thread():
        done = walk(mine, algorithm, steps.tolist(), slice(agent, agent + 1))
    handed_in = communicator.gather((done.points, post.sent), root=_LEADER)
    if handed_in is None:
        return None
    sent = np.array([[counts[k] for k in range(len(handed_in))] for _, counts in handed_in])
    return Gathered(steps, np.concatenate([points for points, _ in handed_in], axis=2), done.calls, sent)


def simulated(cell: Cell) -> Walk:
    """The batched simulation of the same cell, all agents in one process."""
    problem, algorithm, steps = _built(cell)
    with one_blas_thread():
        return walk(problem, algorithm, steps.tolist())


def agreed(communicator: Any, prepare: Callable[[], Any]) -> Any:
    """What ``prepare`` gives; its TheorysimError in one process is raised in all of them, so that none waits for another."""
    try:
        made, trouble = prepare(), ""
    except TheorysimError as error:
        made, trouble = None, str(error)
    if found := next(filter(None, communicator.allgather(trouble)), None):
        raise TheorysimError(found)
    return made


def _prepared(cell: Cell, agent: int, size: int, exchange: Exchange) -> tuple[Problem, Algorithm, NDArray[np.int64]]:
    problem, algorithm, steps = _built(cell)
    network, _ = _separable(problem)
    if size != (m := network.agents):
        raise TheorysimError(
            f"m={m} agents need {m} processes, and {size} started; write mpiexec -n {m} theorysim agents ..., with the mpiexec "
            "of the MPI library that mpi4py loads"
        )
    return share(problem, agent, exchange), algorithm, steps


def _built(cell: Cell) -> tuple[Problem, Algorithm, NDArray[np.int64]]:
    require_steps(cell)
    if (count := variants(cell.algorithm)) > 1:
        raise TheorysimError(f"agents run one variant of an algorithm, not {count}; give single values in place of lists")
    draws = Draws(CPU, cell.seed, cell.first_run + np.arange(cell.runs))
    problem = build_problem(cell.problem, draws)
    return problem, build_algorithm(cell.algorithm, problem, draws), record_steps(cell)

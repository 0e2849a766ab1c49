"""What an algorithm may ask a problem for, and how often it did."""

from __future__ import annotations

from typing import Any

from theorysim.agents import FiniteSum, Network
from theorysim.backend import namespace
from theorysim.model import Array, Draw, Problem


class Oracle:
    """Answers gradients and counts them. ``point`` and ``answer``: the first request of the current step; of agents the means
    over them, and None where they asked for parts of a gradient only.

    ``calls`` counts, per row, ``gradient`` (exact), ``sample`` (stochastic) and ``communication`` (rounds); of agents also
    ``messages``, ``component`` (gradients of components, by all agents together) and ``time`` (those of the slowest agent, added
    up over what the agents wait for). The last two are numbers or ``(rows,)``.
    """

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.calls: dict[str, Any] = {"gradient": 0, "sample": 0, "communication": 0, "messages": 0, "component": 0, "time": 0}
        self.point: Array = problem.start
        self.answer: Array = None
        self._step, self._asked, self._pointed = 0, 0, False

    def begin(self, step: int) -> None:
        self._step, self._asked, self._pointed = step, 0, False

    def gradient(self, x: Array) -> Array:
        """The exact gradient at ``x``, ``(rows, *shape)``."""
        return self._note("gradient", x, self.problem.gradient(x))

    def sample(self, x: Array) -> Array:
        """A stochastic gradient at ``x``, fresh for every request."""
        return self._note("sample", x, self.problem.sample(x, Draw(self._step, self._asked)))

    # -------------------------------------------------------------------------------------------- agents
    def mix(self, x: Array) -> Array:
        """One round of gossip of ``x``, ``(rows, agents, d)``."""
        network: Network = self.problem.capabilities["network"]
        self.calls["communication"] += 1
        self.calls["messages"] += network.messages
        return network.mix(x, self.calls["communication"])

    def local_gradient(self, x: Array, among: Array = None) -> Array:
        """grad f_i(x_i) of every agent, ``(rows, agents, d)``; charged to the rows ``among`` only, where given."""
        parts: FiniteSum = self.problem.capabilities["finite_sum"]
        charged = 1 if among is None else namespace(x).astype(among, x.dtype)
        self._charge(parts.agents * parts.components * charged, parts.components * charged)
        found = parts.local_gradient(x)
        return self._seen(x, found) if among is None else found

    def weighted_gradient(self, x: Array, counts: Array) -> Array:
        """sum_j counts_ij grad f_ij(x_i); what was drawn has been charged already."""
        self._seen(x, None)
        return self.problem.capabilities["finite_sum"].weighted_gradient(x, counts)

    def local_sample(self, x: Array) -> Array:
        """A stochastic gradient of f_i at x_i for every agent, ``(rows, agents, d)``: the problem's own, or of one component
        each."""
        own = self.problem.capabilities.get("local_sample")
        if own is not None:
            self._charge(x.shape[1], 1)
            return self._seen(x, own(x, self._draw()))
        parts: FiniteSum = self.problem.capabilities["finite_sum"]
        return self._seen(x, parts.weighted_gradient(x, self.draw_local(1, each=1)))

    def draw_pool(self, batch: int, importance: bool = False, each: int = 2) -> Array:
        """How often each component is among ``batch`` of the whole pool, ``(rows, agents, components)``; each is evaluated at
        ``each`` points."""
        counts = self.problem.capabilities["finite_sum"].draw_pool(self._draw(), batch, importance)
        xp = namespace(counts)
        self._charge(each * batch, each * xp.max(xp.sum(counts, axis=2), axis=1))
        return counts

    def draw_local(self, batch: int, each: int = 2) -> Array:
        """The same for ``batch`` components of every agent."""
        parts: FiniteSum = self.problem.capabilities["finite_sum"]
        self._charge(each * batch * parts.agents, each * batch)
        return parts.draw_local(self._draw(), batch)

    def coin(self, chance: float) -> Array:
        """Heads with this chance, the same for all agents of a run, ``(rows,)``."""
        return self.problem.capabilities["finite_sum"].coin(self._draw(), chance)

    def _seen(self, x: Array, answer: Array) -> Array:
        if not self._pointed:
            xp, self._pointed = namespace(x), True
            self.point, self.answer = xp.mean(x, axis=1), None if answer is None else xp.mean(answer, axis=1)
        return answer

    def _charge(self, components: Any, time: Any) -> None:
        self.calls["component"] = self.calls["component"] + components
        self.calls["time"] = self.calls["time"] + time

    def _draw(self) -> Draw:
        self._asked += 1
        return Draw(self._step, self._asked - 1)

    def _note(self, kind: str, x: Array, answer: Array) -> Array:
        self.calls[kind] += 1
        if not self._pointed:
            self.point, self.answer, self._pointed = x, answer, True
        self._asked += 1
        return answer

"""A run on which a bound is exceeded is shown again, and made as small as it can be."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from theorysim.backend import Backend
from theorysim.build import build_problem
from theorysim.model import Spec, TheorysimError
from theorysim.noise import Draws
from theorysim.ratios import Floats, against_bound
from theorysim.reductions import fewer, simpler, simpler_algorithm, smaller
from theorysim.reproducer import Counterexample, from_reproducer
from theorysim.run import run_cell

_Key = tuple[Spec, Spec, int, int]

RUNS = 300
_WORK = 100_000  # steps of a small iterate, which take a few seconds
_SMALL = 5_000  # size of an iterate up to which a step takes the same time
_LONGER = 64  # a smaller iterate may need more steps: twice as many and so many more
_CLEAR = 1e-6  # by how much a smaller case exceeds the bound, so that the rounding of another device does not undo it


# ------------------------------------------------------------------------------------------------ once again
@dataclass(frozen=True)
class Replay:
    """A run against its bound at T = 1, 2, ...: arrays ``(steps,)``. ``step``: the first T at which the bound is claimed and
    exceeded, or None."""

    steps: NDArray[np.int64]
    measured: Floats
    limit: Floats
    ratio: Floats
    step: int | None
    environment: str

    @property
    def violated(self) -> bool:
        return self.step is not None


def replay(example: Counterexample, backend: Backend) -> Replay:
    """Run a counterexample up to its step; ``violated`` tells whether the bound is exceeded there again, or before.

    Raises TheorysimError where the bound is no number there, for then nothing can be said.
    """
    found = _replay(example, backend, 1 + example.slack)
    if found.step is None and np.isnan(found.ratio).any():
        raise TheorysimError(f"the bound {example.bound} is no number on this run; nothing can be said about it")
    return found


def _replay(example: Counterexample, backend: Backend, threshold: float) -> Replay:
    trace = run_cell(example.cell, backend)
    found = against_bound(trace, example.of, example.bound, example.where)
    claimed = found.steps <= example.claimed if isinstance(example.claimed, int) else np.isin(found.steps, example.claimed)
    over = np.flatnonzero(claimed & (found.ratio[0] > threshold))
    step = int(found.steps[over[0]]) if len(over) else None
    return Replay(found.steps, found.measured[0], found.limit[0], found.ratio[0], step, trace.environment)


# ------------------------------------------------------------------------------------------------ as small as it can be
def smallest(reproducer: Mapping[str, Any] | None, backend: Backend, *, budget: int = RUNS) -> Counterexample | None:
    """The smallest counterexample from a finding's reproducer.

    None where there is none, where it is not one of a bound, or where the run alone, rounded otherwise, stays within the slack.
    """
    if reproducer is None or "bound" not in reproducer:
        return None
    example = from_reproducer(reproducer)
    violated = _replay(example, backend, 1 + example.slack).violated
    return shrink(example, backend, budget=budget) if violated else None


def shrink(example: Counterexample, backend: Backend, *, budget: int = RUNS) -> Counterexample:
    """The smallest case, found greedily, in which the bound is still exceeded: fewer dimensions, fewer steps, run 0 of seed 0,
    parameters at their defaults, round numbers.

    Every candidate is run and judged by itself; it must exceed the bound clearly, and stay of its kind: a finite violation of a
    positive bound stays one. At most ``budget`` runs, and a few seconds of work. Raises TheorysimError where ``example`` itself
    exceeds nothing.
    """
    threshold = 1 + max(example.slack, min(_CLEAR, (example.ratio - 1) / 2))
    search, now = _Search(backend, budget, threshold, _WORK), _first_violation(example, backend, threshold)
    if now is None:
        raise TheorysimError(f"{example.of} <= {example.bound} is not exceeded by T={example.steps}: there is nothing to shrink")
    before = None
    while now != before:
        before = now
        for reductions in (_smaller, _simpler, _earlier):
            now = search.descend(now, reductions)
    return replace(now, history=tuple(_changes(example, now)), tried=search.tried, minimal=search.complete)


def _first_violation(example: Counterexample, backend: Backend, threshold: float) -> Counterexample | None:
    """The example cut off at its first violation, with what comes out there; None if there is none."""
    found = _replay(example, backend, threshold)
    if found.step is None:
        return None
    measured, limit, ratio = (float(each[found.step - 1]) for each in (found.measured, found.limit, found.ratio))
    return replace(example, steps=found.step, measured=measured, limit=limit, ratio=ratio)


class _Candidate(NamedTuple):
    """``must_shrink``: no good unless the iterate gets smaller. ``longer``: it may take more steps than now."""

    example: Counterexample
    must_shrink: bool = False
    longer: bool = False


def _smaller(now: Counterexample) -> Iterator[_Candidate]:
    for spec, must_shrink in smaller(now.problem):
        yield _Candidate(replace(now, problem=spec), must_shrink, longer=True)


def _simpler(now: Counterexample) -> Iterator[_Candidate]:
    for spec, _ in simpler(now.problem):
        yield _Candidate(replace(now, problem=spec))
    spoken = {name for name in now.where.values() if isinstance(name, str)}
    for spec, _ in simpler_algorithm(now.algorithm, spoken):
        yield _Candidate(replace(now, algorithm=spec))


def _earlier(now: Counterexample) -> Iterator[_Candidate]:
    """Seed 0 and run 0, one of them, then small ones."""
    places = [(0, 0), (now.seed, 0), (0, now.run)]
    places += [(now.seed, run - 1) for run in fewer(now.run + 1)] + [(seed - 1, now.run) for seed in fewer(now.seed + 1)]
    for seed, run in places:
        if (seed, run) != (now.seed, now.run):
            yield _Candidate(replace(now, seed=seed, run=run))


@dataclass
class _Search:
    """Runs candidates and keeps the account of it; none is run twice. ``complete``: none had to be left out."""

    backend: Backend
    budget: int
    threshold: float
    work: float
    tried: int = 0
    complete: bool = True
    sizes: dict[_Key, float] = field(default_factory=dict)

    def descend(self, now: Counterexample, reductions: Any) -> Counterexample:
        """Take the first candidate that is good, again and again."""
        while better := self._first(now, reductions(now)):
            now = better
        return now

    def _first(self, now: Counterexample, candidates: Iterable[_Candidate]) -> Counterexample | None:
        return next(filter(None, (self._judged(now, candidate) for candidate in candidates)), None)

    def _judged(self, now: Counterexample, candidate: _Candidate) -> Counterexample | None:
        example, must_shrink, longer = candidate
        if _key(example) in self.sizes:
            return None
        here, there = self._size(now), self._size(example)
        if there > here or (must_shrink and there == here) or not math.isfinite(there):
            return None
        horizons = [now.steps, min(now.horizon, 2 * now.steps + _LONGER)] if longer else [now.steps]
        for steps in sorted(set(horizons)):
            found = self._run(example, steps)
            if found is not None and _same_kind(now, found):
                return found
        return None

    def _run(self, example: Counterexample, steps: int) -> Counterexample | None:
        """The example cut off at its first violation, or None: no violation, impossible, or too much work."""
        cost = steps * (1 + self._size(example) / _SMALL)
        if self.tried >= self.budget or cost > self.work:
            self.complete = False
            return None
        self.tried, self.work = self.tried + 1, self.work - cost
        try:
            return _first_violation(replace(example, steps=steps), self.backend, self.threshold)
        except Exception:  # at sizes that nobody has tried a plug-in may fail in any way; then it is no smaller case
            return None

    def _size(self, example: Counterexample) -> float:
        """The size of the iterate, or of what a gradient makes; infinite where the problem is impossible."""
        key = _key(example)
        if key not in self.sizes:
            try:
                with np.errstate(all="ignore"):
                    built = build_problem(example.problem, Draws(self.backend, example.seed, np.array([example.run])))
                self.sizes[key] = max(built.row_elements, math.prod(built.shape))
            except Exception:  # as above
                self.sizes[key] = math.inf
        return self.sizes[key]


def _key(example: Counterexample) -> _Key:
    return example.problem, example.algorithm, example.seed, example.run


def _same_kind(now: Counterexample, found: Counterexample) -> bool:
    """A finite violation of a positive bound is worth more than one that overflows or meets a bound of 0."""
    return not _regular(now) or _regular(found)


def _regular(example: Counterexample) -> bool:
    return math.isfinite(example.measured) and 0 < example.limit < math.inf


def _changes(old: Counterexample, new: Counterexample) -> Iterator[str]:
    """What became of what, one line each: ``steps: 200 to 1``."""
    for name in ("problem", "algorithm", "steps", "run", "seed"):
        was, now = getattr(old, name), getattr(new, name)
        if was != now:
            yield f"{name}: {was} to {now}"

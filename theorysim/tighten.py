"""How tight is a bound? The hardest instance that can be found, and for fixed-step methods the exact worst case.

typical <= hardest found <= exact worst case <= bound, all as measured / bound.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from theorysim.backend import Backend
from theorysim.bounds import Bound
from theorysim.cluster import workers
from theorysim.executors import Executor, Progress, backend_beside
from theorysim.lab import LEVELS, Lab
from theorysim.measures import MEASURES
from theorysim.model import Cell, Claim, Search, Spec, TheorysimError
from theorysim.ratios import Ratios, against_bound
from theorysim.registry import ALGORITHMS, ANALYSES, PAPERS, parameters
from theorysim.search_space import Space
from theorysim.tightness import SLACK, SOLVER_SLACK, Instance, Tightness
from theorysim.trace import Trace
from theorysim.validation import non_negative, one_of, positive_integer
from theorysim.worst_case import LONGEST, worst_case

Floats = NDArray[np.float64]

_HORIZONS = 100  # recorded steps of a run, at most
_EDGE = 0.1  # of a range on either side, searched as the end itself: hardest instances often lie there
_MEMBERS = 10  # of the population, per parameter


def tighten(paper: str, claim: str, budget: int = 200, **options: Any) -> Tightness:
    """Look for the instance on which the bound of a paper's claim is tightest; see tighten_claim for the options.

    Raises TheorysimError for bad input and for a claim without a search.
    """
    return tighten_claim(searched_claim(paper, claim), budget, **options)


def searchable(paper: str) -> list[str]:
    """The claims of a paper that have a search."""
    return [name for name, claim in PAPERS.get(paper).claims.items() if claim.search is not None]


def searched_claim(paper: str, name: str) -> Claim:
    """A claim that has a search; TheorysimError where it has none."""
    claim: Claim = PAPERS.get(paper).select([name])[0]
    if claim.search is None:
        others = ", ".join(searchable(paper)) or "none"
        raise TheorysimError(f"{paper}:{name} does not say where to look for hard instances; claims that do: {others}")
    return claim


def tighten_claim(
    claim: Claim,
    budget: int = 200,
    *,
    seed: int = 0,
    level: str = "quick",
    device: str | Backend = "auto",
    jobs: int | None = None,
    cluster: str | Executor | None = None,
    progress: Progress = lambda what, done, total: None,
) -> Tightness:
    """Look for the instance on which a bound is tightest, with differential evolution over the claim's search.

    ``budget``: evaluations; in each, some runs of one instance are measured at many horizons and the largest measured / bound
    counts. The first is the typical instance. A run that diverges has the ratio infinity, and ends the search. The same
    arguments give the same result. ``jobs`` and ``cluster`` as for ``ts.check``. ``progress(what, done, total)`` hears of
    evaluations. Raises TheorysimError for bad input, for a search whose ranges are none, and where the bound is no number on an
    instance.
    """
    positive_integer("budget", budget)
    non_negative("seed", seed)
    search = claim.search
    if search is None:
        raise TheorysimError(f"claim {claim.name} does not say where to look for hard instances; give it a search=")
    space = Space(search)
    one_of("level", level, LEVELS)
    with workers(jobs, cluster, device) as executor:
        lab = Lab(backend_beside(executor, device), level, seed, executor=executor)
        hunt = _Hunt(search, lab, budget, lambda done: progress(claim.name, done, budget))
        typical = float(np.median(hunt.evaluate([(search.problem, search.algorithm)])[0]))
        _evolve(hunt, space, seed)
    hardest, trace = hunt.hardest
    exact, why_not = _worst_case(search, hardest)
    settings = {"budget": budget, "seed": seed, "level": level, "runs": hunt.runs, "device": trace.environment}
    reproducer = _reproducer(search, claim.name, trace)
    return Tightness(claim, search, typical, hardest, tuple(hunt.history), exact, why_not, reproducer, settings)


# ------------------------------------------------------------------------------------------------ the search
class _Hunt:
    """Evaluates instances, never more than ``budget``, and remembers the hardest."""

    def __init__(self, search: Search, lab: Lab, budget: int, told: Callable[[int], None]) -> None:
        self.search, self.budget, self.runs = search, budget, lab.pick(quick=4, full=16)
        self.history: list[float] = []
        self.hardest: tuple[Instance, Trace]
        self._lab = replace(lab, progress=lambda done, total: told(len(self.history) + done))

    @property
    def left(self) -> int:
        """Evaluations that may still be made; none once a run has diverged, which nothing exceeds."""
        over = self.history and np.isinf(self.history[-1])
        return 0 if over else self.budget - len(self.history)

    def evaluate(self, instances: list[tuple[Spec, Spec]]) -> list[Floats]:
        """The largest measured / bound of every run, per instance; instances beyond the budget are left out."""
        traces = self._lab.run_all([self._cell(*instance) for instance in instances[: self.left]])
        return [self._look(trace) for trace in traces]

    def _cell(self, problem: Spec, algorithm: Spec) -> Cell:
        search = self.search
        used = [search.of, *(source for source in search.where.values() if _is_measure(source))]
        steps = np.unique(np.rint(np.geomspace(1, search.steps, _HORIZONS)).astype(int))
        record = "all" if search.steps <= _HORIZONS else tuple(steps.tolist())
        return Cell(problem, algorithm, search.steps, self.runs, tuple(dict.fromkeys(used)), record)

    def _look(self, trace: Trace) -> Floats:
        found = against_bound(trace, self.search.of, self.search.bound, self.search.where)
        if np.isnan(found.ratio).any():
            where = f"{trace.cell.algorithm} on {trace.cell.problem}"
            raise TheorysimError(f"the bound {self.search.bound} is no number for {where}; narrow the ranges of the search")
        top = float(found.ratio.max())
        if not self.history or top > self.history[-1]:
            self.hardest = _instance(trace, found), trace
        self.history.append(max([top, *self.history[-1:]]))
        return np.asarray(found.ratio.max(axis=1))


def _is_measure(source: Any) -> bool:
    return isinstance(source, str) and source.partition(":")[0] in MEASURES


def _instance(trace: Trace, found: Ratios) -> Instance:
    """The run and the step with the largest ratio, as a cell of one run."""
    place = np.unravel_index(int(np.argmax(found.ratio)), found.ratio.shape)
    cell = replace(trace.cell, runs=1, first_run=int(trace.runs[place[0]]))
    constants = {name: float(trace.constant(name)[place[0]]) for name in trace.constants}
    measured, limit, ratio = (float(values[place]) for values in (found.measured, found.limit, found.ratio))
    return Instance(cell, int(found.steps[place[1]]), measured, limit, ratio, constants)


def _evolve(hunt: _Hunt, space: Space, seed: int) -> None:
    """Differential evolution until the budget is spent or the whole population agrees."""
    from scipy.optimize import differential_evolution

    if not hunt.left:
        return
    dims = len(space.axes)
    members = max(1, min(_MEMBERS, hunt.left // (8 * dims)))
    generations = -(-hunt.left // max(5, members * dims))

    def hardness(places: Floats) -> Floats:
        """Minus the ratio of every column, squeezed into [0, 1] so that infinity is a number; unseen ones are the worst."""
        top = [ratios.max() for ratios in hunt.evaluate([space.specs(place) for place in places.T])]
        seen = np.array(top + [0.0] * (places.shape[1] - len(top)))
        return np.where(np.isinf(seen), -1.0, -seen / (1 + np.where(np.isinf(seen), 0.0, seen)))

    evolve: Any = differential_evolution  # whose types know no vectorized function
    evolve(
        hardness,
        [(-_EDGE, 1 + _EDGE)] * dims,
        popsize=members,
        maxiter=generations - 1,
        tol=0.0,
        rng=np.random.default_rng(seed),
        polish=False,
        updating="deferred",
        vectorized=True,
        callback=lambda intermediate_result: hunt.left <= 0,
    )


def _reproducer(search: Search, label: str, trace: Trace) -> Mapping[str, Any] | None:
    """What to run to see the bound exceeded; None where it is not."""
    judge = ANALYSES.get("bound_ratio")
    reproducer: Mapping[str, Any] | None = judge(
        [trace], of=search.of, bound=search.bound, where=search.where, label=label, slack=SLACK
    ).reproducer
    return reproducer


# ------------------------------------------------------------------------------------------------ the exact worst case
def _worst_case(search: Search, hardest: Instance) -> tuple[float | None, str]:
    """Worst case / bound at the horizon of the hardest run, over all functions with its constants; or None, and why."""
    known = hardest.constants
    if why_not := next(_obstacles(search, hardest), ""):
        return None, why_not
    curved = {"lambda_min", "mu"} & ({*Bound(search.bound).symbols} | set(_letters(search.algorithm)))
    mu = known.get("lambda_min", known.get("mu", 0.0)) if curved else 0.0
    try:
        exact = worst_case(
            hardest.cell.algorithm, hardest.step, smoothness=known["lambda_max"], strong_convexity=mu, radius=known["D_2_0"]
        )
    except TheorysimError as error:
        return None, str(error)
    ratio = exact / hardest.limit
    if ratio < hardest.ratio * (1 - SOLVER_SLACK):
        return None, f"a run exceeds it ({ratio:.6g} of the bound), so the instance is not in its class of functions"
    return ratio, ""


def _obstacles(search: Search, hardest: Instance) -> Iterator[str]:
    """Why the worst case over smooth convex functions is not the one that the bound speaks of."""
    if search.of != "gap":
        yield f"it is known for the gap, not for {search.of}"
    if pathwise := [name for name, source in search.where.items() if _is_measure(source)]:
        yield f"the bound has {', '.join(pathwise)}, which depend on the run"
    if foreign := {*Bound(search.bound).symbols} - {"T", "lambda_max", "lambda_min", "mu", "D_2_0", *search.where}:
        yield f"the bound has {', '.join(sorted(foreign))}, which are no constants of its class of functions"
    if not {"lambda_min", "mu"} & set(hardest.constants):
        yield f"{hardest.cell.problem.name} does not say that it is convex (lambda_min or mu)"
    if hardest.step > LONGEST:
        yield f"it is computed for at most {LONGEST} steps, and the hardest run has {hardest.step}"
    if not np.isfinite(hardest.ratio):
        yield "a run diverges"


def _letters(algorithm: Spec) -> Iterator[str]:
    """The constants of the problem that an algorithm's hyper-parameters are made of, defaults and wrapped ones included."""
    for key, parameter in parameters(ALGORITHMS, algorithm.name).items():
        value = algorithm.arguments.get(key, parameter.default)
        if isinstance(value, Spec):
            yield from _letters(value)
        elif isinstance(value, str) and parameter.annotation == "PerRow":
            yield from Bound(value).symbols

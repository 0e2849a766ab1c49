"""The records that travel along the line from a paper to a verdict; what comes out at its end is in findings.py.

An iterate has shape ``(*shape,)``; every array of a run carries a leading batch axis, ``(rows, *shape)``. A row is one
(hyper-parameter variant, run) pair: ``rows = variants * runs``, the variant varying slowest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from theorysim.findings import Finding

Array = Any  # numpy.ndarray, cupy.ndarray or another array of the array API standard
MIN_SEEDS = 8  # below it no standard error over seeds is trusted
PerRow = Any  # a hyper-parameter that may differ by row: a number, a (rows, 1, ...) array, or text in the problem's constants


class TheorysimError(Exception):
    """A request that cannot be met. The text says what was asked, what is allowed and the way out; exit code 2."""


# --------------------------------------------------------------------------------------------- what is run
@dataclass(frozen=True)
class Spec:
    """The name of a problem or an algorithm with its parameters: hashable, JSON, validated when it is made.

    ``kind`` is ``"problem"`` or ``"algorithm"``; ``params`` are sorted ``(name, value)`` pairs whose values are numbers,
    text, booleans, None, tuples of those, or a Spec (the algorithm inside a wrapper).
    """

    kind: str
    name: str
    params: tuple[tuple[str, Any], ...] = ()

    @property
    def arguments(self) -> dict[str, Any]:
        return dict(self.params)

    def to_json(self) -> dict[str, Any]:
        return {"kind": self.kind, "name": self.name, "params": {key: _plain(value) for key, value in self.params}}

    def __str__(self) -> str:
        return f"{self.name}({', '.join(f'{key}={_short(value)}' for key, value in self.params)})"


def _plain(value: Any) -> Any:
    if isinstance(value, Spec):
        return value.to_json()
    return [_plain(item) for item in value] if isinstance(value, tuple) else value


def _short(value: Any) -> str:
    if isinstance(value, tuple) and len(value) > 4:
        return f"[{_short(value[0])}, ..., {_short(value[-1])}; {len(value)}]"
    if isinstance(value, tuple):
        return f"[{', '.join(map(_short, value))}]"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


class Draw(NamedTuple):
    """Which random numbers a stochastic gradient uses: the ``call``-th request of step ``step`` (both from 0 and 1 up)."""

    step: int
    call: int = 0


@dataclass(frozen=True)
class Problem:
    """An instance whose constants are true by construction, for all rows of one batch.

    ``shape``: of one iterate. ``start``: ``(rows, *shape)``, the iterate w_1. ``minimizer``: ``(rows, *shape)`` or
    ``shape``, a point w* with zero gradient, or None. ``constants``: floats, or ``(rows,)`` arrays where a constant depends
    on the row's own start. ``gap(x)``: f(x) - f*, ``(rows, *shape) -> (rows,)``, never by subtraction of large numbers.
    ``gradient(x)`` and ``sample(x, draw)``: the gradient and an unbiased estimate of it, ``(rows, *shape)``.
    ``vectors``: per-coordinate constants of shape ``shape``. ``capabilities``: optional abilities an algorithm or an
    audit may ask for, by name (``hessian``: () -> host matrix; ``network``; ``components`` ...). ``row_elements``: size of the
    largest array a gradient makes per row, where that is not the iterate.
    """

    shape: tuple[int, ...]
    start: Array
    minimizer: Array | None
    constants: Mapping[str, Any]
    gap: Callable[[Array], Array]
    gradient: Callable[[Array], Array]
    sample: Callable[[Array, Draw], Array]
    vectors: Mapping[str, Array] = field(default_factory=dict)
    capabilities: Mapping[str, Any] = field(default_factory=dict)
    row_elements: int = 0


@dataclass(frozen=True)
class GradientNoise:
    """How a stochastic gradient g at u varies, in the eigenbasis of a quadratic: what an exact expectation has to know of it.

    Var g_j = additive_j + own_j e_j^2 + shared_j sum_k shared_k e_k^2,  e = u - w*,

    given u, independent in time; host vectors ``(dim,)``, in the order of ``spectrum``. None stands for zeros. Covariances
    between entries of g are not needed: they never reach a variance.
    """

    additive: Array
    own: Array = None
    shared: Array = None


@dataclass(frozen=True)
class LinearMethod:
    """A method with one gradient a step and fixed weights: what an exact expectation has to know of it.

        u_t = w_t + look_ahead z_t,   g_t the gradient at u_t,
        w_{t+1} = w_t + z_t - lr s(t) g_t,   z_{t+1} = momentum z_t - kick s(t) g_t,   z_1 = 0.

    Heavy ball: look_ahead 0; Nesterov: look_ahead 1; both with kick = momentum lr, which is meant by None. Without momentum:
    ``sgd``. ``friction``: 1 - momentum, to be given where it is known to more digits than the difference has.
    ``output``: what is put out is w + output z; with ``averaged`` instead the mean of w_1..w_t (w_1 before the first step).
    The weights are numbers, or ``(rows, 1, ...)`` arrays. ``stages(steps)``: the first ``steps`` steps in order as pairs (s,
    number of steps with this s). ``stochastic``: whether g_t is the stochastic gradient or the exact one. ``lr_outside``: the
    step size multiplies a buffer of raw gradients, m_{t+1} = momentum m_t + g_t, w_{t+1} = w_t - lr s(t) m_{t+1} as in PyTorch,
    so z also takes the factor s(t)/s(t-1); then s must be positive.
    """

    lr: PerRow
    momentum: PerRow = 0.0
    stages: Callable[[int], Iterable[tuple[float, int]]] = lambda steps: [(1.0, steps)]
    stochastic: bool = True
    lr_outside: bool = False
    look_ahead: PerRow = 0.0
    kick: PerRow = None
    friction: PerRow = None
    output: PerRow = 0.0
    averaged: bool = False


@dataclass(frozen=True)
class Algorithm:
    """Two pure functions and the iterate the theorem speaks of.

    ``init(problem, x0) -> state``; ``step(state, oracle) -> state``; ``output(state)`` is the last iterate, an average or
    the best one, ``(rows, *shape)``. A state is an immutable record with a field ``x``, the current iterate.
    ``requires``: names of the problem capabilities it cannot do without. ``linear``: the transition of a method that is linear in
    the gradient, for exact expectations; whoever changes ``step`` or ``output`` changes or drops it. ``pooled``: the same of a
    variance-reduced method on a finite sum, agents.PooledMethod.
    """

    init: Callable[[Problem, Array], Any]
    step: Callable[[Any, Any], Any]
    output: Callable[[Any], Array] = lambda state: state.x
    requires: tuple[str, ...] = ()
    linear: LinearMethod | None = None
    pooled: Any = None


@dataclass(frozen=True)
class Cell:
    """One unit of work: a problem, an algorithm, a horizon. It is what a store remembers and what a worker is sent.

    ``record``: ``"all"``, ``"log"``, ``"last"`` or the steps to record. ``until``: stop once, for every run, one variant's
    gap is at most ``until`` times its initial gap (values after that moment are NaN). The runs are numbered from ``first_run``
    on: run r is the same whatever the cell it belongs to, so seeds can be appended. ``exact``: not runs but the expectation over
    the gradient noise, from the instance and the start of run ``first_run``; then ``runs`` is 1 and the measures are those of
    moments/expectations.py.
    """

    problem: Spec
    algorithm: Spec
    steps: int
    runs: int = 1
    measure: tuple[str, ...] = ("gap",)
    record: str | tuple[int, ...] = "log"
    until: float | None = None
    seed: int = 0
    first_run: int = 0
    exact: bool = False

    def to_json(self) -> dict[str, Any]:
        return {
            "problem": self.problem.to_json(),
            "algorithm": self.algorithm.to_json(),
            "steps": self.steps,
            "runs": self.runs,
            "measure": list(self.measure),
            "record": list(self.record) if isinstance(self.record, tuple) else self.record,
            "until": self.until,
            "seed": self.seed,
            "first_run": self.first_run,
            "exact": self.exact,
        }


@dataclass(frozen=True)
class Outcome:
    """One number per run, the quantity a sweep plots: ``read(trace) -> (variants, runs)``, NaN where a run has none.

    ``measure``, ``record`` and ``until`` are what a Cell needs for it.
    """

    name: str
    read: Callable[[Any], Array]
    measure: tuple[str, ...] = ("gap",)
    record: str | tuple[int, ...] = "last"
    until: float | None = None


# --------------------------------------------------------------------------------------------- what is claimed
@dataclass(frozen=True)
class Paper:
    """A paper: ``name`` is its file name, its registry key and its word on the command line."""

    name: str
    title: str
    authors: str
    year: int
    venue: str
    bibtex: str
    arxiv: str = ""
    summary: str = ""


@dataclass(frozen=True)
class Control:
    """Arguments with which the very same claim must come out VIOLATED, and why.

    ``fires=False`` marks the opposite duty: a neighbour that must still come out CONSISTENT, so that a control that fires
    on everything is noticed.
    """

    setting: Mapping[str, Any]
    why: str
    fires: bool = True


@dataclass(frozen=True)
class Search:
    """Where the hardest instance of an upper bound is looked for, inside the assumptions of its theorem.

    ``problem``, ``algorithm``: the typical instance. ``over``: parameter name (as in a sweep, or ``"spectrum[1]"``, an entry of
    a list of the problem) -> a tuple ``(low, high)``: any number between, whole if both ends are, on a logarithmic scale if
    both are positive and high >= 10 low; or a list of choices. ``steps``: the longest horizon; every shorter one counts too.
    ``of`` <= ``bound`` is the claim, with the names of ``where`` as in bound_ratio.
    """

    problem: Spec
    algorithm: Spec
    over: Mapping[str, Any]
    steps: int
    of: str
    bound: str
    where: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Claim:
    """One statement of a paper and the function that checks it, ``function(lab, **setting) -> Finding``.

    ``kind``: upper, tight, rate, band, separation, identity, threshold or invariance. ``source``: theorem number and
    evidence mark (source, recalled, derived). ``statement``: LaTeX. ``bound``: an expression of bounds.py, or "".
    ``search``: where its hardest instance is looked for, or None.
    """

    paper: Paper
    name: str
    function: Callable[..., Finding]
    kind: str
    source: str
    statement: str
    bound: str
    controls: tuple[Control, ...]
    assumptions: str = ""
    search: Search | None = None

    @property
    def title(self) -> str:
        return (self.function.__doc__ or self.name).strip().splitlines()[0]


KINDS = ("upper", "tight", "rate", "band", "separation", "identity", "threshold", "invariance")

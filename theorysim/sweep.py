"""Sweeps: one outcome over a grid of problem and algorithm parameters, and the best value of one of them (a step size)."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from theorysim.backend import Backend
from theorysim.cluster import workers
from theorysim.executors import Executor, backend_beside
from theorysim.findings import Finding, Panel, Series, Verdict, together
from theorysim.lab import Lab
from theorysim.model import Cell, Outcome, Spec, TheorysimError
from theorysim.plan import Plan, plan
from theorysim.registry import ANALYSES
from theorysim.store import Store
from theorysim.validation import non_negative, one_of, positive_integer, unknown

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

Floats = NDArray[np.float64]

_FIRST_LOOK = 16  # the first horizon at which a search for the best value looks whether it may stop


@dataclass(frozen=True, eq=False)
class Sweep:
    """An outcome of one algorithm on one problem over a grid.

    ``over``: the swept names with their values. ``values``: ``(*grid, runs)``, an axis per name in the order of ``over``;
    NaN where a run has no outcome. ``steps``: the longest run allowed. ``best_over``: the name whose best value is taken at
    every point, or None; best is the smallest mean over runs, where a missing outcome counts as infinite.
    """

    problem: str
    algorithm: str
    over: Mapping[str, tuple[Any, ...]]
    outcome: Outcome
    values: Floats
    steps: int
    best_over: str | None = None

    def frame(self) -> pd.DataFrame:
        """A long table: one line per grid point and run, the outcome in the column ``outcome``."""
        import pandas as pd

        lines = itertools.product(*self.over.values(), range(self.values.shape[-1]))
        return pd.DataFrame(lines, columns=[*self.over, "run"]).assign(outcome=self.values.ravel())

    def best(self) -> pd.DataFrame:
        """One line per point of the other names: the best value, the mean outcome there, and ``at_grid_end``, the warning that
        the grid may be too small. Value and outcome are missing where no value gave every run an outcome."""
        import pandas as pd

        name, reduced, chosen = self._reduced()
        mean = _mean(reduced.values).ravel()
        found = np.isfinite(mean)
        table = pd.DataFrame(itertools.product(*reduced.over.values()), columns=list(reduced.over))
        table[name] = pd.Series([self.over[name][index] if ok else None for index, ok in zip(chosen.ravel(), found, strict=True)])
        return table.assign(outcome=np.where(found, mean, np.nan), at_grid_end=self._at_end(chosen).ravel() & found)

    def exponent(self, over: str, claim: float | None = None, within: float = 0.1, **options: Any) -> Finding:
        """Judge how the outcome grows with ``over``: ``ts.exponent``, to which further ``options`` are passed on. To decide,
        it wants seven values over a factor of 100.

        One finding per combination of the remaining names, together. Without ``claim=`` or ``law=`` the exponent is measured
        and not judged: UNDECIDED. Raises TheorysimError where ``over`` was not swept or is no positive number.
        """
        judged = claim is not None or "law" in options
        options |= {"claim": claim if judged else 0.0, "within": within, "variable": over}
        parts = []
        for curve in self._curves(over):
            found = ANALYSES.get("exponent")(curve.x, curve.values, label=f"{self.outcome.name}, {curve.label}", **options)
            found = found if judged else _not_judged(found)
            parts.append(replace(found, reason=found.reason + curve.note))
        return parts[0] if len(parts) == 1 else together(*parts, label=self.algorithm)

    def exponents(self, claims: Mapping[str, float], within: float | Mapping[str, float] = 0.1, **options: Any) -> Finding:
        """Judge how the outcome grows with several swept names at once: ``ts.exponents`` with its ``options``. ``claims``: the
        exponent claimed for each of them; each is judged with the others held fixed, a part each.

        One finding per combination of the remaining names, together. Raises TheorysimError as ``exponent`` does.
        """
        if not claims:
            raise TheorysimError(f"exponents needs claims={{name: exponent}} for one or more of {', '.join(self.over)}")
        parts = []
        for curve in self._curves(*claims):
            label = f"{self.outcome.name}, {curve.label}"
            options |= {"claims": claims, "within": within, "quantity": self.outcome.name}
            found = ANALYSES.get("exponents")(curve.axes, curve.values, label=label, **options)
            parts.append(replace(found, reason=found.reason + curve.note))
        return parts[0] if len(parts) == 1 else together(*parts, label=self.algorithm)

    def panel(self, over: str | None = None, slope: float | None = None, beside: Sequence[Sweep] = ()) -> Panel:
        """What ``plot`` draws, as a record. Points where a run has no outcome are left out."""
        over = over or next((name for name in self.over if name != self.best_over), "")
        series = [curve.series() for sweep in (self, *beside) for curve in sweep._curves(over)]
        first = next((s for s in series if s.x), None)
        if slope is not None and first is not None:
            line = tuple(first.y[0] * (x / first.x[0]) ** slope for x in first.x)
            series.append(Series(f"slope {slope:g}", first.x, line, "predicted"))
        return Panel(f"{self.outcome.name}, {self.problem}", over, self.outcome.name, tuple(series))

    def plot(
        self, ax: Axes | None = None, over: str | None = None, slope: float | None = None, beside: Sequence[Sweep] = ()
    ) -> Axes:
        """Draw the mean outcome against ``over`` (default: the first swept name), a curve per combination of the remaining
        names, the range over runs shaded; a guide line of the predicted ``slope`` through the first point; and the curves of
        the sweeps ``beside`` this one, to compare algorithms."""
        from theorysim.report.figures import draw

        return draw(self.panel(over, slope, beside), ax)

    def _curves(self, *names: str) -> list[_Curve]:
        """Along ``names``, one per combination of the others besides the one whose best value is taken."""
        if self.best_over in names:
            raise TheorysimError(
                f"{self.best_over!r} is the name whose best value is taken; look along another, or sweep without best="
            )
        reduced, ends = self, np.zeros(self.values.shape[:-1], dtype=bool)
        if self.best_over is not None:
            _, reduced, chosen = self._reduced()
            ends = self._at_end(chosen)
        for name in names:
            if name not in reduced.over:
                raise unknown("swept name", name, reduced.over)
        grid = np.meshgrid(*(_numbers(name, reduced.over[name]) for name in names), indexing="ij")
        axes = {name: values.ravel() for name, values in zip(names, grid, strict=True)}
        rest = {name: values for name, values in reduced.over.items() if name not in names}
        order, last = [list(reduced.over).index(name) for name in names], range(-len(names), 0)
        tables = np.moveaxis(reduced.values, order, last).reshape(-1, self.values.shape[-1], grid[0].size)
        at_end = np.moveaxis(ends, order, last).reshape(-1, grid[0].size)
        points = [dict(zip(rest, point, strict=True)) for point in itertools.product(*rest.values())]
        return [
            _Curve(self._label(point), axes, table, self._note(axes, table, end))
            for point, table, end in zip(points, tables, at_end, strict=True)
        ]

    def _label(self, point: Mapping[str, Any]) -> str:
        best = [f"best {self.best_over}"] if self.best_over else []
        return ", ".join([self.algorithm, *best, *(f"{name}={value}" for name, value in point.items())])

    def _note(self, axes: Mapping[str, Floats], values: Floats, at_end: NDArray[np.bool_]) -> str:
        missing: NDArray[np.bool_] = np.asarray(np.isnan(values).any(axis=0))
        text = f"; no outcome within {self.steps} steps in some run {_at(axes, missing)}" if missing.any() else ""
        narrow = at_end & ~missing
        return text + (f"; best {self.best_over} at an end of its grid {_at(axes, narrow)}: widen it" if narrow.any() else "")

    def _reduced(self) -> tuple[str, Sweep, NDArray[np.intp]]:
        """The name of the best values, the sweep at them only, and their positions in the name's grid, ``(*other grid,)``."""
        if (name := self.best_over) is None:
            raise TheorysimError(f"no best value was asked for; call sweep with best= one of {', '.join(self.over)}")
        values = np.moveaxis(self.values, list(self.over).index(name), -2)
        mean = _mean(values)
        tied = mean == mean.min(axis=-1, keepdims=True)
        # Step counts tie often; the middle of equally good values lies at an end of the grid only if it must.
        middle = (tied.sum(axis=-1, keepdims=True) + 1) // 2
        chosen = np.argmax(tied & (np.cumsum(tied, axis=-1) == middle), axis=-1)
        best = np.take_along_axis(values, chosen[..., None, None], axis=-2)[..., 0, :]
        others = {other: each for other, each in self.over.items() if other != name}
        return name, replace(self, over=others, values=best, best_over=None), chosen

    def _at_end(self, chosen: NDArray[np.intp]) -> NDArray[np.bool_]:
        """Where the chosen value is the smallest or largest of its grid (where that holds text: the first or last)."""
        grid = self.over[str(self.best_over)]
        order = np.argsort(grid) if all(map(_is_number, grid)) else np.arange(len(grid))
        return np.isin(chosen, order[[0, -1]]) & (len(grid) > 1)


class _Curve(NamedTuple):
    """Outcomes ``values`` (runs, m) along ``axes``, name -> (m,), and a note of what a reader must know about them."""

    label: str
    axes: Mapping[str, Floats]
    values: Floats
    note: str

    @property
    def x(self) -> Floats:
        return next(iter(self.axes.values()))

    def series(self) -> Series:
        kept = np.isfinite(self.values).all(axis=0)
        table = self.values[:, kept]
        low, high = (tuple(end.tolist()) if len(table) > 1 else () for end in (table.min(axis=0), table.max(axis=0)))
        return Series(self.label, tuple(self.x[kept].tolist()), tuple(table.mean(axis=0).tolist()), low=low, high=high)


def sweep(
    problem: Spec | str,
    algorithm: Spec | str,
    over: Mapping[str, Sequence[Any]],
    outcome: Outcome,
    *,
    steps: int,
    best: str | None = None,
    runs: int = 8,
    seed: int = 0,
    device: str | Backend = "auto",
    jobs: int | None = None,
    cluster: str | Executor | None = None,
    store: Store | None = None,
) -> Sweep:
    """The outcome of ``runs`` runs at every point of a grid of problem and algorithm parameters.

    ``problem``, ``algorithm``: Specs or names. ``over``: parameter -> values; where problem and algorithm share a name write
    ``"problem.x"`` or ``"algorithm.x"``; step sizes may be text in the problem's constants. ``outcome``: for example
    ``ts.steps_to(1e-3)`` or ``ts.final()``. ``best``: the swept name whose best value is wanted; a search for the fewest steps
    ends once no value that still runs can be better, so the outcomes of worse values may be missing. ``steps``: the longest
    run allowed. ``jobs``, ``cluster`` and ``store`` as for ``ts.check``. Raises TheorysimError for bad input.
    """
    positive_integer("steps", steps)
    non_negative("seed", seed)
    laid_out = plan(problem, algorithm, over)
    if best is not None:
        one_of("best", best, laid_out.grid)
    cells = [Cell(*specs, steps, runs, outcome.measure, outcome.record, outcome.until) for specs in laid_out.cells()]
    with workers(jobs, cluster, device) as executor:
        lab = Lab(backend_beside(executor, device), seed=seed, store=store or Store(), executor=executor)
        if outcome.until is None or laid_out.variants == 1:
            found = [outcome.read(trace) for trace in lab.run_all(cells)]
        else:
            found = _complete(lab, [replace(cell, until=None) for cell in cells], outcome, laid_out, best)
    names = (cells[0].problem.name, cells[0].algorithm.name)
    return Sweep(*names, laid_out.grid, outcome, laid_out.on_grid(np.stack(found)), steps, best)


def _complete(lab: Lab, cells: list[Cell], outcome: Outcome, laid_out: Plan, best: str | None) -> list[Floats]:
    """Per cell ``(variants, runs)``. The engine's early stop waits only for the fastest variant of every run, and a mean over
    runs needs more; instead the horizon doubles until the best value is certain."""
    waiting, results, steps = dict(enumerate(cells)), dict[int, Floats](), cells[0].steps
    horizon = min(_FIRST_LOOK, steps) if best in laid_out.in_batch else steps
    while waiting:
        traces = lab.run_all(replace(cell, steps=horizon) for cell in waiting.values())
        for index, counts in zip(list(waiting), map(outcome.read, traces), strict=True):
            if horizon == steps or _settled(laid_out.by_value(counts, str(best)), horizon):
                results[index] = counts
                del waiting[index]
        horizon = min(2 * horizon, steps)
    return [results[index] for index in range(len(cells))]


def _settled(counts: Floats, horizon: int) -> bool:
    """Can no value that still runs turn out better than the best that has arrived? ``counts``: ``(..., values, runs)``."""
    least = np.where(np.isnan(counts), horizon + 1, counts).mean(axis=-1)
    arrived = ~np.isnan(counts).any(axis=-1)
    best, rival = np.where(arrived, least, np.inf).min(axis=-1), np.where(arrived, np.inf, least).min(axis=-1)
    return bool((best <= rival).all())


def _mean(values: Floats) -> Floats:
    """Mean over runs; a missing outcome counts as infinite."""
    return np.asarray(np.where(np.isnan(values), np.inf, values).mean(axis=-1))


def _not_judged(found: Finding) -> Finding:
    """A judged exponent as a mere measurement."""
    if found.measured is None:
        return replace(found, predicted=None, limits=None)
    spread = "" if found.interval is None else f" [{found.interval[0]:.3f}, {found.interval[1]:.3f}]"
    panels = tuple(replace(panel, series=tuple(s for s in panel.series if s.role != "predicted")) for panel in found.panels)
    reason = f"exponent {found.measured:.3f}{spread}; no claim was given to judge it against"
    details = {name: value for name, value in found.details.items() if not name.startswith("rival")}
    return replace(
        found,
        verdict=Verdict.UNDECIDED,
        reason=reason,
        predicted=None,
        limits=None,
        panels=panels,
        details=details,
        evidence=None,
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _numbers(name: str, values: tuple[Any, ...]) -> Floats:
    if not all(_is_number(value) and value > 0 for value in values):
        raise TheorysimError(f"{name} holds values that are no positive numbers ({values[0]!r}, ...); look along another name")
    return np.array(values, dtype=float)


def _at(axes: Mapping[str, Floats], where: NDArray[np.bool_]) -> str:
    """``at dim=10, 20`` or ``at (dim=10, kappa=3), (dim=20, kappa=3)``."""
    if len(axes) == 1:
        ((name, x),) = axes.items()
        return f"at {name}={', '.join(f'{value:g}' for value in x[where])}"
    points = zip(*(x[where] for x in axes.values()), strict=True)
    return "at " + ", ".join("(" + ", ".join(f"{n}={v:g}" for n, v in zip(axes, each, strict=True)) + ")" for each in points)

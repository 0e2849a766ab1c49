"""What a run leaves behind, on the host."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from theorysim.bounds import Bound
from theorysim.model import Cell, Spec, TheorysimError
from theorysim.validation import unknown

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

OK = -1


@dataclass(frozen=True)
class Trace:
    """The record of one cell.

    ``steps``: ``(records,)``, numbers of steps taken. ``values[measure]``: ``(rows, records)``. ``oracle_calls[kind]`` and
    ``communications``: ``(records,)``, the same for every row. ``status``: ``(rows,)``, -1 (ok) or the first recorded step with a
    non-finite value: divergence is data. ``runs``: ``(rows,)`` run numbers. ``parameters``: ``(rows,)`` arrays, the
    hyper-parameters that vary. ``constants``: the problem's, floats or ``(rows,)``. A row is a (variant, run) pair.
    """

    cell: Cell
    steps: NDArray[np.int64]
    values: Mapping[str, NDArray[np.float64]]
    oracle_calls: Mapping[str, NDArray[np.int64]]
    communications: NDArray[np.int64]
    status: NDArray[np.int64]
    runs: NDArray[np.int64]
    parameters: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    constants: Mapping[str, Any] = field(default_factory=dict)
    environment: str = ""

    @property
    def variants(self) -> int:
        return len(self.runs) // self.cell.runs

    def __getitem__(self, measure: str) -> NDArray[np.float64]:
        """``(rows, records)`` values of a measure; TheorysimError if it was not recorded."""
        if measure not in self.values:
            raise unknown("recorded measure", measure, self.values)
        return self.values[measure]

    def at(self, step: int, measure: str = "gap") -> NDArray[np.float64]:
        """``(variants, runs)`` values of a measure after ``step`` steps."""
        index = np.flatnonzero(self.steps == step)
        if not len(index):
            raise TheorysimError(
                f"step {step} was not recorded; recorded: {_listing(self.steps)}; ask for record='all' or record=(..., {step})"
            )
        return self.split(self[measure][:, index[0]])

    def split(self, rows: NDArray[Any]) -> NDArray[Any]:
        """An array over rows as ``(variants, runs, ...)``."""
        return rows.reshape(self.variants, self.cell.runs, *rows.shape[1:])

    def appended(self, more: Trace) -> Trace:
        """The trace of the runs of both, ``more`` being the same cell from the next run on: the same numbers, to the bit, as
        all runs at once."""
        longest = max(self, more, key=lambda trace: len(trace.steps))

        def joined(one: Any, other: Any) -> NDArray[Any]:
            both = np.concatenate([self.split(np.asarray(one)), more.split(np.asarray(other))], axis=1)
            return both.reshape(-1, *both.shape[2:])

        def padded(values: NDArray[np.float64]) -> NDArray[np.float64]:
            missing = len(longest.steps) - values.shape[1]  # with ``until`` a batch may have ended earlier
            return np.pad(values, ((0, 0), (0, missing)), constant_values=np.nan)

        return replace(
            longest,
            cell=replace(self.cell, runs=self.cell.runs + more.cell.runs),
            values={name: joined(padded(each), padded(more.values[name])) for name, each in self.values.items()},
            status=joined(self.status, more.status),
            runs=joined(self.runs, more.runs),
            parameters={name: joined(each, more.parameters[name]) for name, each in self.parameters.items()},
            constants={
                name: joined(each, more.constants[name]) if np.ndim(each) else each for name, each in self.constants.items()
            },
        )

    def constant(self, name: str) -> NDArray[np.float64]:
        """A constant of the problem as ``(rows,)``; TheorysimError for an unknown one."""
        if name not in self.constants:
            raise unknown(f"constant of {self.cell.problem.name}", name, self.constants)
        return np.broadcast_to(np.asarray(self.constants[name], dtype=float), self.runs.shape)

    def hyper(self, name: str) -> NDArray[np.float64]:
        """A numerical hyper-parameter as ``(rows,)``, text evaluated in the constants; TheorysimError for an unknown one."""
        value = _lookup(self.cell.algorithm, name)
        if value is None:
            raise TheorysimError(f"{self.cell.algorithm.name} was given no {name!r}; set it in the Spec to use it in a bound")
        rows = [
            np.broadcast_to(self._evaluated(item), self.runs.shape) for item in (value if isinstance(value, tuple) else (value,))
        ]
        picked = np.stack([self.split(row)[i] for i, row in enumerate(rows)]) if isinstance(value, tuple) else rows[0]
        return np.asarray(picked, dtype=float).ravel()

    def _evaluated(self, value: Any) -> Any:
        return Bound(value)(self.constants) if isinstance(value, str) else value

    def frame(self) -> pd.DataFrame:
        """A long table: one line per row and recorded step, with the varying hyper-parameters as columns."""
        import pandas as pd

        rows, records = len(self.runs), len(self.steps)
        columns: dict[str, Any] = {"run": np.repeat(self.runs, records)}
        columns |= {name: np.repeat(values, records) for name, values in self.parameters.items()}
        columns["step"] = np.tile(self.steps, rows)
        columns |= {f"calls_{kind}": np.tile(calls, rows) for kind, calls in self.oracle_calls.items()}
        columns |= {name: values.ravel() for name, values in self.values.items()}
        return pd.DataFrame(columns)

    def plot(self, ax: Axes | None = None, measure: str = "gap") -> Axes:
        """The mean over runs of one measure against steps, a curve per variant, with the range over runs shaded."""
        from theorysim.report.figures import plot_trace

        return plot_trace(self, measure, ax)


def _listing(steps: NDArray[np.int64]) -> str:
    return ", ".join(map(str, steps)) if len(steps) <= 8 else f"{steps[0]}, {steps[1]}, ..., {steps[-1]} ({len(steps)})"


def _lookup(spec: Spec, name: str) -> Any:
    """The value of a hyper-parameter in a Spec or in the algorithm it wraps; None where it was not set."""
    inner = [value for _, value in spec.params if isinstance(value, Spec)]
    return spec.arguments.get(name, _lookup(inner[0], name) if inner else None)


def varying(spec: Spec) -> dict[str, tuple[Any, ...]]:
    """The hyper-parameters of an algorithm Spec that hold one value per variant, those of a wrapped algorithm included.

    Raises TheorysimError where their lengths differ.
    """
    found: dict[str, tuple[Any, ...]] = {}
    for key, value in spec.params:
        found |= varying(value) if isinstance(value, Spec) else {key: value} if isinstance(value, tuple) else {}
    lengths = {key: len(value) for key, value in found.items()}
    if len(set(lengths.values())) > 1:
        raise TheorysimError(f"{spec.name}: lists of different lengths {lengths}; give one value per variant to each")
    return found

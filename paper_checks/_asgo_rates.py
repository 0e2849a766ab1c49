"""Exponents and constants that are attained: T and ‖L‖_* without noise (A4), M, T and ‖V‖_* with it (A6)."""

from __future__ import annotations

from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from theorysim.analyses.band import band
from theorysim.analyses.bound_in_expectation import bound_in_expectation
from theorysim.analyses.bound_ratio import bound_ratio
from theorysim.analyses.exponent import exponent
from theorysim.analyses.slope import slope
from theorysim.bounds import Bound
from theorysim.findings import Finding, Table, together
from theorysim.lab import Lab
from theorysim.model import Cell, Control, Spec
from theorysim.paper_checks._asgo_paper import ASGO, PAPER
from theorysim.registry import algorithm, claim, problem
from theorysim.trace import Trace

Floats = NDArray[np.float64]
Decays = tuple[float, float, int]  # beta, delta, K

_AVERAGE = algorithm("average", of=ASGO.spec(lr="D_op_0/sqrt(2)"))
_BOUND = "L_nuclearnorm*D_op**2/T"

# K >= (5 T_max)^{1/beta} columns a group: fewer, and the smallest curvatures are solved before the horizon.
_DECAYS: tuple[Decays, ...] = ((2.0, 0.2, 400), (2.0, 0.6, 400), (2.0, 1.2, 400), (1.5, 0.3, 610), (1.2, 0.3, 3020))
_QUICK: tuple[Decays, ...] = ((2.0, 0.2, 200), (2.0, 1.2, 200))
_SATURATED: tuple[Decays, ...] = ((1.5, 3.0, 200),)


def _horizons(low: float, high: float, count: int) -> tuple[int, ...]:
    return tuple(np.rint(np.geomspace(low, high, count)).astype(int).tolist())


# ------------------------------------------------------------------------------------------ without noise
def _groups(m: int, decays: Decays, **spectrum: Any) -> Spec:
    """Row i of U'X lives on its own K columns, with curvatures a_i j^-beta and errors +-j^{-(1+delta)/2} of norm 1: D_op = 1."""
    beta, delta, size = decays
    settings = {"right": "groups", "right_decay": beta, "start": "groups", "start_decay": delta, "rotation": "random"}
    return problem("matrix_quadratic", m=m, n=m * size, **settings, **spectrum)


@claim(
    PAPER,
    source="C4, A4 (derived: every row follows one scalar recursion; measured)",
    kind="tight",
    statement=r"f(\bar W_T)-f^*\sim T^{-(1+\delta/\beta)},\qquad\text{bound: }\frac{\|L\|_*D_{op}^2}{T}",
    bound=_BOUND,
    assumptions="f = tr(X'AXB)/2, m = 3, A turned at random, B = j^-beta on K columns per row of U'X, errors of row i "
    "+-j^{-(1+delta)/2} on its own columns, D_op = 1; eta = 1/sqrt2, eps = 0, 12 horizons in [30, 3000], K >= (5 T)^{1/beta}.",
    controls=[
        Control({"decays": _SATURATED}, "delta > beta: the first iterates keep the average at T^-2"),
        Control({"decays": _SATURATED, "of": "gap_iterate"}, "the last iterate keeps its exponent", fires=False),
        Control({"decays": ((1.2, 0.3, 400),)}, "with too few columns everything is solved before T = 3000"),
    ],
)
def asgo_in_time(lab: Lab, decays: tuple[Decays, ...] = (), of: str = "gap") -> Finding:
    """ASGO's rate comes as close to its bound's 1/T as the error is spread over the curvatures."""
    steps, measures = _horizons(30, 3000, 12), ("gap", "gap_iterate", ASGO.measures[0])
    chosen = decays or lab.pick(quick=_QUICK, full=_DECAYS)
    traces = lab.run_all(Cell(_groups(3, each), _AVERAGE, steps[-1], 1, measures, steps) for each in chosen)
    parts = []
    for (beta, delta, size), trace in zip(chosen, traces, strict=True):
        label, claimed = f"beta={beta:g}, delta={delta:g}, K={size}", -(1 + delta / beta)
        limits: dict[str, Any] = {"low": claimed - 0.05, "high": claimed + 0.05}
        parts.append(slope(steps, trace[of][0], **limits, label=label, predicted=claimed, quantity="f(wbar) - f*"))
        if of == "gap":  # the last iterate has a longer transient
            parts.append(exponent(steps, trace[of][0], claim=claimed, exact=True, label=f"{label}: exponent and drift"))
    if of == "gap":
        parts.append(_below_smooth_bound(traces))
    return together(*parts, label="ASGO in T", panels=(parts[0].panels[0], parts[-1].panels[0]))


def _below_smooth_bound(traces: list[Trace]) -> Finding:
    where = {"D": ASGO.measures[0], "eta": "lr", "eps": 0.0}
    return bound_ratio(traces, of="gap", bound=ASGO.smooth_bound(), where=where, label="f(wbar) / bound")


@claim(
    PAPER,
    source="C4, A4 (derived)",
    kind="tight",
    statement=r"\frac{f(\bar W_T)-f^*}{\|A\|_*}\text{ is one number for every }m\text{ and every spectrum of }A",
    bound=_BOUND,
    assumptions="As for the exponent of T, beta = 2, delta = .2, K = 400, with m = 3 and 9 and four spectra of A.",
    controls=[Control({"norm": "L_opnorm"}, "per unit of the largest curvature the error grows with the rank of A")],
)
def error_is_set_by_the_nuclear_norm(lab: Lab, norm: str = "L_nuclearnorm") -> Finding:
    """At fixed D_op the error is the nuclear norm of the smoothness times a number, whatever the spectrum and the size."""
    spectra: list[tuple[int, dict[str, Any]]] = [
        (3, {"decay": 1.0}),
        (3, {"spectrum": [1.0, 0.9, 0.05]}),
        (9, {"decay": 1.0}),
        (9, {"decay": 0.0}),
    ]
    steps = lab.pick(quick=_horizons(10, 200, 7), full=_horizons(30, 3000, 12))
    instances = [_groups(m, _DECAYS[0], **spectrum) for m, spectrum in spectra]
    traces = lab.run_all(Cell(each, _AVERAGE, steps[-1], 1, ("gap", ASGO.measures[0]), steps) for each in instances)
    numbers = np.stack([trace["gap"][0] / trace.constant(norm)[0] for trace in traces])
    same = band(
        np.abs(numbers / numbers[0] - 1), high=1e-10, label="largest relative difference between instances", predicted=0.0
    )
    if norm != "L_nuclearnorm":
        return same
    rows = tuple(
        (m, str(a), trace.constant(norm)[0], trace["gap"][0, -1], number[-1])
        for (m, a), trace, number in zip(spectra, traces, numbers, strict=True)
    )
    table = Table(f"Error at T={steps[-1]}", ("m", "spectrum of A", "‖A‖_*", "f(wbar) - f*", "per ‖A‖_*"), rows)
    below = _below_smooth_bound(traces)
    attained = band(below.measured or 0.0, 0.01, 0.1, label="largest f(wbar) / bound: neither vacuous nor the initial error")
    return together(same, below, attained, label="nuclear norm of the smoothness", panels=below.panels, tables=(table,))


# ------------------------------------------------------------------------------------------ with noise
_EXPECTED = ASGO.smooth_bound(noisy=True)
_NOISY = r"\mathbb E f(\bar W_T)-f^*\sim\|V\|_*\,D_{op}\,(MT)^{-1/2}\text{ (in }T\text{ up to a logarithm)}"
_MEAN = "mean f(wbar) - f*"
_TRAVELLED = "typical D_op / D_1 (1 would be standing still, which has the right exponents too)"


class _Noisy:
    """Runs of the self-similar instance: noise V = diag(v), curvature A = V/(D_1 sqrt(M T)), which shrinks with the budget.

    ``gap`` (runs,) of the average after T steps; ``largest``, ``typical``: largest and root mean square of D_op over runs.
    """

    def __init__(self, trace: Trace) -> None:
        self.gap: Floats = trace["gap"][:, -1]
        distance = trace[ASGO.measures[0]][:, -1]
        self.largest, self.typical = float(distance.max()), float(np.sqrt(np.mean(distance**2)))
        constants = {name: float(trace.constant(name)[0]) for name in ("L_nuclearnorm", "V_nuclearnorm", "M", "m")}
        self.values = {**constants, "eta": 1 / sqrt(2), "eps": 0.0, "T": float(trace.cell.steps)}

    def bound(self, distance: float) -> float:
        return float(Bound(_EXPECTED)({**self.values, "D": distance}))


def _noisy(lab: Lab, v: Floats, runs: int, points: list[tuple[int, int]], shrinking: bool = True, **start: Any) -> list[_Noisy]:
    """At each (T, M) of ``points``."""
    cells = []
    for horizon, batch in points:
        curvature = v / sqrt(batch * horizon) if shrinking else v
        settings = {"spectrum": curvature.tolist(), "noise": v.tolist(), "batch": batch, **start}
        instance = problem("matrix_quadratic", m=len(v), n=len(v), **settings)
        cells.append(Cell(instance, _AVERAGE, horizon, lab.runs(runs), ("gap", ASGO.measures[0]), "last"))
    return [_Noisy(trace) for trace in lab.run_all(cells)]


@claim(
    PAPER,
    source="C3, A6 (derived bound; self-similar instance, measured)",
    kind="rate",
    statement=_NOISY,
    bound=_EXPECTED,
    assumptions="m = n = 8, V = diag(v), A = V/(D_1 sqrt(MT)), D_1 = 1, eta = 1/sqrt2, X_1 = I or Gaussian; D_op in the bound is "
    "the largest measured one over steps and runs (a plug-in: the theorem wants an almost sure bound).",
    controls=[
        Control({"shrinking": False}, "with a curvature that does not shrink with the budget the noise averages out faster")
    ],
)
def noise_in_time_and_batch(lab: Lab, shrinking: bool = True) -> Finding:
    """Under noise ASGO's error falls as 1/sqrt(MT): in M exactly (M drops out of the iterates), in T up to a logarithm."""
    batches = lab.pick(quick=(1, 8, 64), full=(1, 4, 16, 64))
    horizons = lab.pick(quick=(50, 100, 200, 400), full=(50, 100, 200, 400, 800, 1600, 3200))
    vectors = {"v = 1": np.ones(8), "v = 1...0.4": np.linspace(1.0, 0.4, 8)}
    starts: dict[str, dict[str, Any]] = {"X_1 = I": {"start": "identity"}, "X_1 Gaussian": {"normalize": "op"}}
    pairs = [(v, start) for start in starts for v in vectors]
    points = list(dict.fromkeys([(100, batch) for batch in batches] + [(horizon, 1) for horizon in horizons]))
    parts, rows = [], []
    for v, start in lab.pick(quick=[pairs[0], pairs[3]], full=pairs) if shrinking else pairs[:1]:
        label, runs = f"{v}, {start}", lab.pick(quick=24, full=48)
        found = dict(zip(points, _noisy(lab, vectors[v], runs, points, shrinking, **starts[start]), strict=True))
        means = [found[100, batch].gap.mean() for batch in batches]
        limits: dict[str, Any] = {"low": -0.55, "high": -0.45, "predicted": -0.5}
        parts.append(slope(batches, means, label=f"{label}: M", variable="M", quantity=_MEAN, **limits))
        in_time = [found[horizon, 1] for horizon in horizons]
        parts += _in_time(horizons, in_time, label)
        rows += [
            (label, T, each.gap.mean(), each.bound(each.largest), each.typical, each.largest)
            for T, each in zip(horizons, in_time, strict=True)
        ]
    table = Table("M = 1", ("instance", "T", _MEAN, "bound", "D_op, rms", "D_op, largest"), tuple(rows))
    return together(*parts, label="noise in M and T", panels=tuple(part.panels[0] for part in parts[:4]), tables=(table,))


def _in_time(horizons: tuple[int, ...], found: list[_Noisy], label: str) -> list[Finding]:
    """The largest D_op of all runs stands in for an almost sure bound; it grows with the runs, so no exponent is taken of it."""
    errors = np.stack([each.gap for each in found], axis=1)
    bounds, ratio = ([each.bound(getattr(each, which)) for each in found] for which in ("largest", "typical"))
    means, name = errors.mean(axis=0), f"{label}: T in f / bound of typical D_op"
    return [
        slope(horizons, means, low=-0.48, high=-0.33, label=f"{label}: T", predicted=-0.5, quantity=_MEAN),
        slope(horizons, means / ratio, low=-0.08, high=0.08, label=name, predicted=0.0, quantity="f / bound"),
        bound_in_expectation(horizons, errors, bounds, label=f"{label}: f / bound"),
        band([each.typical for each in found], low=1.3, label=f"{label}: {_TRAVELLED}"),
    ]


@claim(
    PAPER,
    source="C3, A6 (derived bound; self-similar instance, measured)",
    kind="tight",
    statement=_NOISY,
    bound=_EXPECTED,
    assumptions="As for M and T, with X_1 = I, T = 100, M = 1, m = n = 4..24 and v = 1 (‖V‖_* = m) or v = 1/m (‖V‖_* = 1).",
    controls=[Control({"swapped": True}, "v = 1 judged as v = 1/m: the error grows with m")],
)
def noise_enters_by_its_nuclear_norm(lab: Lab, swapped: bool = False) -> Finding:
    """The error grows with the size of the matrix if the nuclear norm of the noise does, and only then."""
    sizes, runs = (4, 6, 8, 12, 16, 24), lab.pick(quick=24, full=96)
    parts, travelled = [], []
    for name, power in (("v=1", 1.0), ("v=1/m", 0.0)):
        claimed = 1.0 - power if swapped else power
        found = [_noisy(lab, np.full(m, m ** (power - 1)), runs, [(100, 1)], start="identity")[0] for m in sizes]
        means, bounds = [float(each.gap.mean()) for each in found], [each.bound(each.largest) for each in found]
        errors = np.stack([each.gap for each in found], axis=1)
        limits: dict[str, Any] = {"low": claimed - 0.08, "high": claimed + 0.08}
        axes: dict[str, Any] = {"variable": "m", "quantity": _MEAN}
        parts.append(slope(sizes, means, **limits, label=f"{name}: exponent of m", predicted=claimed, **axes))
        if not swapped:
            parts.append(bound_in_expectation(np.array(sizes, float), errors, bounds, label=f"{name}: f / bound", variable="m"))
        travelled += [each.typical for each in found]
    if not swapped:
        parts.append(band(travelled, low=1.3, label=_TRAVELLED))
    return together(*parts, label="nuclear norm of the noise", panels=tuple(part.panels[0] for part in parts if part.panels))

"""The variance constant of step decay: a sharp formula for every spectrum (C2b), and one number per C."""

from __future__ import annotations

from math import log, sqrt

import numpy as np

from theorysim.analyses.band import band
from theorysim.bounds import Bound
from theorysim.findings import Finding, Panel, Series, Table, together
from theorysim.lab import Lab
from theorysim.model import Cell, Control
from theorysim.paper_checks._shb_paper import (
    ANISOTROPIC,
    DIM,
    ISOTROPIC,
    PAPER,
    SPECTRA,
    Floats,
    StepDecay,
    expectation,
    gamma_of,
    last,
    method,
    quadratic,
    stages_of_length,
)
from theorysim.registry import claim
from theorysim.trace import Trace

_CONSTANT = "(C - 1)**2/(4*C*log(C))*d*sigma**2/(2*M*K)"
_SHARP = "sigma**2/(2*M*K)*h"
_BATCH = 3
Point = tuple[str, str, float, float, int]  # method, law of the spectrum, kappa, C, K / sqrt(kappa) of SHB or K / kappa of SGD


def last_stages(y: Floats, divisor: float, stages: int) -> Floats:
    """h_n(y) = sum_{k < n} (x_k/2)(1 - e^{-2 x_k}) e^{-2 (x_k - y)/(C - 1)}, x_k = y C^k.

    Stage k before the last leaves (x/2)(1 - e^{-2x}), which the later ones damp by exp(-2 (x/C + ... + y)).
    """
    x = y * divisor ** np.arange(stages)[:, None]
    found: Floats = (x / 2 * -np.expm1(-2 * x) * np.exp(-2 * (x - y) / (divisor - 1))).sum(axis=0)
    return found


def _decay(point: Point) -> StepDecay:
    name, _, kappa, divisor, factor = point
    return stages_of_length(factor * (sqrt(kappa) if name == "SHB" else kappa), kappa, divisor)


def _cell(point: Point, noise: str) -> Cell:
    name, law, kappa, _, _ = point
    decay = _decay(point)
    return expectation(
        quadratic(law, kappa, noise=noise, batch=_BATCH), method(name, decay.schedule), decay.steps, "gap_variance"
    )


def _formulas(point: Point) -> tuple[float, float]:
    """The sharp formula and the constant, as variances."""
    name, law, kappa, divisor, _ = point
    decay = _decay(point)
    gamma = gamma_of(kappa) if name == "SHB" else 1.0
    y = divisor ** (1 - decay.stages) * SPECTRA[law](kappa, DIM) * decay.length / gamma
    known = {"sigma": 1.0, "M": float(_BATCH), "K": float(decay.length), "C": divisor, "d": float(DIM)}
    h = float(last_stages(y, divisor, decay.stages).sum())
    return float(Bound(_SHARP)(known | {"h": h})), float(Bound(_CONSTANT)(known))


def _points(lab: Lab, name: str, divisors: tuple[float, ...], factors: tuple[int, ...]) -> list[Point]:
    kappas = lab.pick(quick=(10.0, 1e3), full=(10.0, 1e2, 1e3, 1e4))
    laws = lab.pick(quick=("log", "flatlow"), full=tuple(SPECTRA))
    return [(name, law, kappa, c, factor) for law in laws for kappa in kappas for c in divisors for factor in factors]


def _table(points: list[Point], traces: list[Trace]) -> Table:
    rows = []
    for point, trace in zip(points, traces, strict=True):
        decay, measured, (sharp, constant) = _decay(point), last(trace, "gap_variance"), _formulas(point)
        unit = DIM / (2 * _BATCH * decay.length)
        rows.append((*point[:4], decay.stages, decay.length, measured / unit, measured / sharp, measured / constant))
    columns = ("method", "spectrum", "kappa", "C", "n", "K", "variance 2MK/(d sigma^2)", "/ sharp formula", "/ constant")
    return Table("Variance of step decay", columns, tuple(rows))


@claim(
    PAPER,
    source="C2b (derived: what every stage injects, damped by the later ones)",
    kind="tight",
    statement=r"\text{variance}\to\frac{\sigma^2}{2MK}\sum_jh_n(y_j),\quad "
    r"h_n(y)=\sum_{k<n}\tfrac{x_k}{2}(1-e^{-2x_k})e^{-2(x_k-y)/(C-1)},\ x_k=yC^k,\ y_j=\eta_n\lambda_jK/\gamma",
    bound=_SHARP,
    assumptions="d = 16, M = 3, C = 1.5 to 8, kappa 10 to 1e4, all spectra; SHB with K >= 100 sqrt(kappa) within [.999, "
    "1.03] and with K >= 1000 sqrt(kappa) within [.999, 1.004]; SGD (gamma = 1) with K >= 100 kappa within [.999, 1.004]; n "
    "= ceil(log_C(nK sqrt(kappa))).",
    controls=[
        Control({"noise": ISOTROPIC}, "noise of one size in every direction has another variance"),
        Control({"factors": (3,)}, "with K = 3 sqrt(kappa) a stage is no longer than the memory of the momentum"),
    ],
)
def sharp_variance(lab: Lab, noise: str = ANISOTROPIC, factors: tuple[int, ...] = (100, 1000)) -> Finding:
    """A formula without free constant gives the variance of step decay to a few per mille, for any spectrum and any C."""
    divisors = lab.pick(quick=(1.5, 3.0, 8.0), full=(1.5, 2.0, 3.0, 4.0, 5.0, 8.0))
    judged = {("SHB", factor): (0.999, 1.004 if factor >= 1000 else 1.03) for factor in factors} | {("SGD", 100): (0.999, 1.004)}
    parts, tables = [], []
    for (name, factor), (low, high) in judged.items():
        points = _points(lab, name, divisors, (factor,))
        traces = lab.run_all(_cell(point, noise) for point in points)
        ratio = [last(trace, "gap_variance") / _formulas(point)[0] for point, trace in zip(points, traces, strict=True)]
        unit = "sqrt(kappa)" if name == "SHB" else "kappa"
        label = f"{name}, K={factor} {unit}: variance / formula, worst of {len(points)}"
        parts.append(band(ratio, low, high, label=label, predicted=1.0, details=_range(ratio)))
        tables.append(_table(points, traces))
    return together(*parts, label="sharp variance", panels=(_ripple(),), tables=tuple(tables))


@claim(
    PAPER,
    source="C2b (derived: the average of h over a period of ln y)",
    kind="tight",
    statement=r"\text{variance}\cdot\frac{2MK}{d\sigma^2}\to\frac{(C-1)^2}{4C\ln C}",
    bound=_CONSTANT,
    assumptions="d = 16, M = 3, C <= 4, kappa 10 to 1e4, all spectra; SHB with K >= 100 sqrt(kappa) within [.98, 1.09], SGD "
    "with K >= 100 kappa within [.98, 1.06].",
    controls=[
        Control({"noise": ISOTROPIC}, "noise of one size in every direction costs a factor kappa where H is flat"),
        Control({"divisors": (40.0,)}, "at C = 40 the sum depends on where the eigenvalues lie between two powers of C"),
    ],
)
def variance_constant(lab: Lab, noise: str = ANISOTROPIC, divisors: tuple[float, ...] = ()) -> Finding:
    """One number for each C is the variance in units of d sigma^2/(2MK), for SHB and SGD alike and for every spectrum."""
    chosen = divisors or lab.pick(quick=(1.5, 3.0), full=(1.5, 2.0, 3.0, 4.0))
    parts, tables = [], []
    for name, high in (("SHB", 1.09), ("SGD", 1.06)):
        points = _points(lab, name, chosen, (100,))
        traces = lab.run_all(_cell(point, noise) for point in points)
        ratio = [last(trace, "gap_variance") / _formulas(point)[1] for point, trace in zip(points, traces, strict=True)]
        parts.append(
            band(
                ratio,
                0.98,
                high,
                label=f"{name}: variance / constant, worst of {len(points)}",
                predicted=1.0,
                details=_range(ratio),
            )
        )
        tables.append(_table(points, traces))
    return together(*parts, label="variance constant", tables=tuple(tables))


def _range(ratio: list[float]) -> dict[str, float]:
    return {"smallest": min(ratio), "largest": max(ratio)}


def _ripple() -> Panel:
    """h over a period of ln y, per average."""
    series = []
    for c in (2.0, 4.0, 8.0):
        y = 1e-6 * c ** np.linspace(0, 2, 81)
        h = last_stages(y, c, 4 + round(log(1e9) / log(c))) / ((c - 1) ** 2 / (4 * c * log(c)))
        series.append(Series(f"C={c:g}", tuple((y / y[0]).tolist()), tuple(h.tolist()), "predicted"))
    return Panel(
        "Where an eigenvalue lies between two powers of C", "y, arbitrary unit", "h(y) / constant", tuple(series), log_y=False
    )

"""Whose bound is smaller (section 3): ratios of the bounds of ASGO and of the compared methods, on instances and on gradients."""

from __future__ import annotations

from math import log, sqrt
from typing import Any

import numpy as np

from theorysim.analyses.band import band
from theorysim.analyses.bound_ratio import bound_ratio
from theorysim.analyses.slope import slope
from theorysim.bounds import Bound
from theorysim.findings import Finding, Table, together
from theorysim.lab import Lab
from theorysim.model import Cell, Control, Spec
from theorysim.paper_checks._asgo_paper import ASGO, PAPER, STRUCTURES, Structure
from theorysim.registry import algorithm, claim, problem

_EXACT = 1e-12
_RATIOS = {
    "AdaGrad-Norm": "L_nuclearnorm/L_opnorm*D_op_0**2/D_2_0**2",
    "DASGO": "L_nuclearnorm*D_op_0**2/(l_1norm*D_row_0**2)",
    "full-matrix AdaGrad": "D_op_0**2/(n*D_2_0**2)",
}


@claim(
    PAPER,
    source="Section 3, ratio formulas (derived)",
    kind="identity",
    statement=r"\frac{\text{ASGO}}{\text{AdaGrad-Norm}}=\frac{\|L\|_*}{\|L\|_{\mathrm{op}}}\frac{D_{\mathrm{op}}^2}{D_F^2},\quad"
    r"\frac{\text{ASGO}}{\text{full matrix}}=\frac{D_{\mathrm{op}}^2}{nD_F^2}\le1,\quad"
    r"\frac{\text{ASGO}}{\text{DASGO}}=\frac{\|L\|_*D_{\mathrm{op}}^2}{\|l\|_1D_{\mathrm{row}}^2}",
    bound=ASGO.smooth_bound(),
    assumptions="Smooth bounds at theta = 1/sqrt(2), eps = 0, with the distances of the start. 16 x 16: 1/i, spike and flat "
    "spectra, axis-aligned and rotated, starts Gaussian, orthogonal and of rank one.",
    controls=[Control({"distance": "2"}, "with ‖.‖_F in place of ‖.‖_op ASGO's bound has none of these ratios")],
)
def smooth_bounds_compared(lab: Lab, distance: str = "op") -> Finding:
    """ASGO's smooth bound against the others: it wins where L has low effective rank and the error has high stable rank."""
    ours = ASGO._replace(distance=distance)
    errors, rows, full, beaten, predicted = [], [], [], [], []
    for instance in _instances():
        known = _constants(lab, instance)
        values = {name: _at_start(s, known) for name, s in {**STRUCTURES, "ASGO": ours}.items()}
        errors += [values["ASGO"] / values[name] / Bound(formula)(known) - 1 for name, formula in _RATIOS.items()]
        descent = Bound("lambda_max*D_2_0**2/2")(known)
        errors.append(values["ASGO"] / descent / (2 * values["ASGO"] / values["AdaGrad-Norm"]) - 1)
        beaten.append(log(values["ASGO"] / values["AdaGrad-Norm"]))
        predicted.append(log(Bound("L_nuclearnorm/L_opnorm")(known) / Bound("D_2_0**2/D_op_0**2")(known)))
        full.append(values["full-matrix AdaGrad"] / values["ASGO"])
        rows.append((str(instance), *(float(values[name]) for name in STRUCTURES)))
    parts = [
        band(np.array(errors), -_EXACT, _EXACT, label="ratios of bounds / formulas - 1", predicted=0.0),
        band(full, low=1.0, label="full-matrix AdaGrad / ASGO: never below 1"),
        band(np.subtract(beaten, predicted), -_EXACT, _EXACT, label="log ASGO / AdaGrad-Norm - log(effective / stable rank)"),
        band(min(beaten), high=-0.5, label="log ASGO / AdaGrad-Norm where ASGO wins most"),
        band(max(beaten), low=0.5, label="log ASGO / AdaGrad-Norm where it loses most"),
        *_against_dasgo(lab, ours),
    ]
    table = Table("Smooth bounds Lam D_1^2, to be divided by T", ("instance", *STRUCTURES), tuple(rows))
    return together(*parts, label="smooth bounds compared", tables=(table,))


def _constants(lab: Lab, instance: Spec) -> dict[str, float]:
    """Of the instance's first run."""
    return {name: float(np.ravel(value)[0]) for name, value in lab.build(instance).constants.items()}


def _at_start(structure: Structure, known: dict[str, float]) -> float:
    d = known[structure.start]
    return float(Bound(structure.smooth_bound())({**known, "D": d, "eta": d / sqrt(2), "eps": 0.0, "T": 1.0}))


def _instances() -> list[Spec]:
    spectra: list[dict[str, Any]] = [{"decay": 1.0}, {"spectrum": "two_value", "head": 1, "kappa": 100.0}, {"decay": 0.0}]
    starts: list[dict[str, Any]] = [
        {"start": "gaussian"},
        {"start": "profile"},
        {"start": "profile", "profile": [1.0] + [0.0] * 15},
    ]
    return [
        problem("matrix_quadratic", rotation=rotation, **spectrum, **start)
        for spectrum in spectra
        for start in starts
        for rotation in (None, "hadamard")
    ]


def _against_dasgo(lab: Lab, ours: Structure) -> list[Finding]:
    """DASGO has the smaller bound where L is diagonal; ASGO where L is turned and no row of X is much below its norm."""
    ratios = []
    for rotation, start in ((None, "gaussian"), ("hadamard", "profile")):
        instance = problem("matrix_quadratic", rotation=rotation, start=start)
        known = _constants(lab, instance)
        ratios.append(_at_start(ours, known) / _at_start(STRUCTURES["DASGO"], known))
    return [
        band(ratios[0], low=1.0, label="ASGO / DASGO, diagonal L"),
        band(ratios[1], high=1.0, label="ASGO / DASGO, turned L, orthogonal X_1"),
    ]


# ------------------------------------------------------------------------------------------------ against Shampoo
@claim(
    PAPER,
    source="Section 3, ASGO against Shampoo (derived; the size of the ratio measured)",
    kind="upper",
    statement=r"\mathrm{tr}L_T^{1/2}\le\mathrm{tr}L_T^{1/4}\,\mathrm{tr}R_T^{1/4},\qquad"
    r"\frac{\text{ASGO}}{\text{Shampoo}}\le\frac1{\sqrt r}\frac{D_{\mathrm{op}}}{D_F}\le1",
    assumptions="The same gradients, every T, eps = 0: those of ASGO on noisy quadratics, n = m in {16, 32}, full also 64, "
    "and on the rotated group norm 12 x 20. Best eta: sqrt(2) D_op tr L^(1/2) against sqrt(2 r) D_F tr L^(1/4) tr R^(1/4).",
    controls=[Control({"reversed": True}, "Shampoo's bound is not the smaller one")],
)
def shampoo_bound_is_larger(lab: Lab, reversed: bool = False) -> Finding:
    """On any gradients ASGO's nonsmooth bound is below Shampoo's, by a factor that grows like m^2 on noisy ones."""
    sizes, steps = lab.pick(quick=(16, 32), full=(16, 32, 64)), lab.pick(quick=30, full=100)
    measures = ("adaptive_norm:left", "fourth_roots:0", "max_distance:op", "max_distance:2", "gap_iterate")
    instances = [problem("matrix_quadratic", m=m, n=m, rotation="random", noise=0.3) for m in sizes]
    instances.append(problem("rotated_group_norm", m=12, n=20))
    method = algorithm("asgo", lr="D_op_0/sqrt(2)", eps=0.0)
    traces = lab.run_all(Cell(instance, method, steps, lab.runs(4), measures, "all") for instance in instances)
    of, limit = measures[:2] if not reversed else (measures[1], measures[0])
    parts = [bound_ratio(traces, of=of, bound="F", where={"F": limit}, label="tr L^(1/2) / (tr L^(1/4) tr R^(1/4))")]
    if reversed:
        return parts[0]
    ratios = []
    for m, trace in zip(sizes, traces[:-1], strict=True):
        left, roots, op, frobenius = (trace[name][:, 1:] for name in measures[:4])
        ratios.append(np.median(sqrt(m) * frobenius * roots / (op * left)))
    parts.append(slope(sizes, ratios, low=1.8, high=2.2, label="Shampoo / ASGO against m", predicted=2.0, variable="m"))
    change = [np.abs(trace["gap_iterate"] / trace["gap_iterate"][:, :1] - 1).max(axis=1) for trace in traces]
    parts.append(band(change, low=0.1, label="largest relative change of the gap: the gradients are those of a run"))
    table = Table(
        "Shampoo's bound / ASGO's on the same gradients", ("m", "ratio"), tuple(zip(sizes, map(float, ratios), strict=True))
    )
    return together(*parts, label="ASGO against Shampoo", panels=parts[0].panels, tables=(table,))

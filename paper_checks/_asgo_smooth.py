"""Convex smooth functions (C3): convergence in the nuclear norm of the smoothness and the spectral norm of the error."""

from __future__ import annotations

from math import sqrt
from typing import Any

import numpy as np

from theorysim.analyses.band import band
from theorysim.analyses.bound_in_expectation import bound_in_expectation
from theorysim.analyses.bound_ratio import bound_ratio
from theorysim.analyses.slope import slope
from theorysim.bounds import Bound
from theorysim.findings import Finding, Table, together
from theorysim.lab import Lab
from theorysim.model import Cell, Control, Search, Spec
from theorysim.paper_checks._asgo_grid import grid, orthogonal_start
from theorysim.paper_checks._asgo_paper import ASGO, PAPER, Structure
from theorysim.registry import algorithm, claim, problem

_SMOOTH, _NOISY = ASGO.smooth_bound(), ASGO.smooth_bound(noisy=True)
_EXACT = 1e-12
_STATEMENT = (
    r"f(\bar w_T)-f^*\le\frac{c^2}2\frac{\|L\|_*D_{\mathrm{op}}^2}T+\frac{\varepsilon mD_{\mathrm{op}}}{2\theta T},"
    r"\quad c=\tfrac1{2\theta}+\theta,\ \theta=\eta/D_{\mathrm{op}}"
)


@claim(
    PAPER,
    source="C3 without noise, derived (form of the paper's smooth theorem, recalled; the constants are derived)",
    kind="tight",
    statement=_STATEMENT,
    bound=_SMOOTH,
    assumptions="Convex, I (x) L >= Hessian; exact gradients; D_op measured up to T, at every T. The exact quadratics of the "
    "regret inequality. One step from an orthogonal X_1 with A = I meets half of the bound, so its constant is within 2.",
    controls=[
        Control({"norm": "L_opnorm"}, "with ‖L‖_op in place of ‖L‖_* the first step exceeds the bound m/2 times"),
        Control({"distance": "inf"}, "with the largest entry in place of ‖.‖_op the first step exceeds it n/2 times"),
    ],
    search=Search(
        problem("matrix_quadratic", m=4, n=4, start="gaussian", normalize="op"),
        algorithm("average", of=algorithm("asgo", lr=1 / sqrt(2), eps=0.0)),
        over={
            "m": (1, 8),
            "n": (1, 8),
            "decay": (0.0, 3.0),
            "rotation": [None, "random"],
            "start": ["gaussian", "aligned", "profile", "signs"],
            "profile_decay": (0.0, 2.0),
            "lr": (0.1, 10.0),
            "eps": (0.0, 1.0),
        },
        steps=100,
        of="gap",
        bound=_SMOOTH,
        where=ASGO.where,
    ),
)
def convex_smooth(lab: Lab, norm: str = "L_nuclearnorm", distance: str = "op") -> Finding:
    """Without noise the average iterate stays below the smooth bound at every T, and meets half of it at T=1."""
    structure = ASGO._replace(smooth=norm, distance=distance)
    if distance != "op":
        return _one_step_from_signs(lab, structure)
    first = bound_ratio(
        [orthogonal_start(lab, lr="D_op_0/sqrt(2)")],
        of="gap",
        bound=structure.smooth_bound(),
        where=structure.where,
        label="T=1, orthogonal X_1, A = I: f(wbar) / bound",
    )
    if norm != "L_nuclearnorm":
        return first
    traces = grid(lab, 0.0)
    part = bound_ratio(traces, of="gap", bound=_SMOOTH, where=ASGO.where, label="f(wbar) / bound, quadratics")
    exact = band(first.measured or 0.0, 0.5 - _EXACT, 0.5 + _EXACT, label="T=1, orthogonal X_1, A = I", predicted=0.5)
    return together(part, exact, label="convex and smooth", panels=part.panels)


def _one_step_from_signs(lab: Lab, structure: Structure) -> Finding:
    method = algorithm("average", of=structure.spec(lr=f"{structure.start}/sqrt(2)", eps=0.0))
    cell = Cell(problem("matrix_quadratic", m=8, n=16, start="signs"), method, 1, 1, ("gap", *structure.measures), "last")
    return bound_ratio(
        [lab.run(cell)],
        of="gap",
        bound=structure.smooth_bound(),
        where=structure.where,
        label="T=1, entries +-1: f(wbar) / bound",
    )


# ------------------------------------------------------------------------------------------------ which norms
@claim(
    PAPER,
    source="N-a and N-f (derived, closed form)",
    kind="identity",
    statement=r"\frac{f(w_1)-f^*}{\|L\|_{\mathrm{op}}D_{\mathrm{op}}^2}=\frac m2\ (A=I,\ X_1\text{ orthogonal}),\qquad"
    r"\frac{f(w_1)-f^*}{\|L\|_*D_{\max}^2}=\frac n2\ (X_1=\pm1)",
    bound="L_opnorm*D_op**2/T",
    assumptions="T = 1 and theta = 1/sqrt(2), where c^2/2 = 1; m = n in {4, 8, 16, 32}, and m = 5 with those n. As wbar_1 = w_1, "
    "it is a statement about the bound alone.",
    controls=[
        Control({"smooth": "L_nuclearnorm"}, "the nuclear norm itself does not fail: the ratio is 1/2 at every m"),
        Control({"distance": "op"}, "nor does the spectral norm of the error: the ratio does not grow like n"),
    ],
)
def weaker_norms_do_not_do(lab: Lab, smooth: str = "L_opnorm", distance: str = "inf") -> Finding:
    """With ‖L‖_op for ‖L‖_*, or the largest entry for ‖X‖_op, the smooth bound fails by exactly m/2 or n/2."""
    sizes = (4, 8, 16, 32)
    flat = [problem("matrix_quadratic", m=m, n=m, decay=0.0, start="profile") for m in sizes]
    signs = [problem("matrix_quadratic", m=5, n=n, start="signs") for n in sizes]
    of_norm = _first_ratios(lab, flat, ASGO._replace(smooth=smooth))
    of_distance = _first_ratios(lab, signs, ASGO._replace(distance=distance))
    parts = []
    for name, ratio in (("m", of_norm), ("n", of_distance)):
        halves = ratio / (np.array(sizes) / 2)
        parts += [
            band(halves, 1 - _EXACT, 1 + _EXACT, label=f"ratio at T=1 / ({name}/2)", predicted=1.0),
            slope(sizes, ratio, low=1 - 1e-9, high=1 + 1e-9, label=f"slope in {name}", predicted=1.0, variable=name),
        ]
    rows = tuple(zip(sizes, of_norm.tolist(), of_distance.tolist(), strict=True))
    table = Table("f(w_1) / wrong bound", ("m or n", "operator norm of L", "largest entry of X"), rows)
    return together(*parts, label="weaker norms", panels=(parts[1].panels[0],), tables=(table,))


def _first_ratios(lab: Lab, instances: list[Spec], structure: Structure) -> Any:
    """Gap at the start / the bound at T = 1 with theta = 1/sqrt(2), of the first run, ``(instances,)``."""
    ratios = []
    for instance in instances:
        constants = {name: np.ravel(value)[0] for name, value in lab.build(instance).constants.items()}
        d = constants[structure.start]
        bound = Bound(structure.smooth_bound())({**constants, "D": d, "eta": d / sqrt(2), "eps": 0.0, "T": 1})
        ratios.append(float(constants["Delta_0"] / bound))
    return np.array(ratios)


# ------------------------------------------------------------------------------------------------ noise
@claim(
    PAPER,
    source="C3 with noise, derived (form of the paper's smooth theorem, recalled)",
    kind="upper",
    statement=r"\mathbb E f(\bar w_T)-f^*\le\frac{c^2}2\frac{\|L\|_*D_{\mathrm{op}}^2}T"
    r"+\frac{c\,\|V\|_*D_{\mathrm{op}}}{\sqrt{MT}}",
    bound=_NOISY,
    assumptions="16 x 16, a_i = 1/i, V = .5 I, M in {1, 16}, X_1 Gaussian with ‖X_1‖_op = 1, eta = 1/sqrt(2), 10 seeds. The "
    "theorem wants D_op almost surely; here it is the largest over steps and seeds, a plug-in.",
    controls=[Control({"noise_term": False, "noise": 2.0}, "without the noise term the bound falls like 1/T, but not the error")],
)
def convex_smooth_with_noise(lab: Lab, noise_term: bool = True, noise: float = 0.5) -> Finding:
    """With noise the mean error stays below the bound in expectation, for a single sample and for a batch."""
    horizons, measures = lab.pick(quick=(50, 200), full=(50, 200, 800)), ("gap", "max_distance:op")
    method = algorithm("average", of=algorithm("asgo", lr=1 / sqrt(2), eps=0.0))
    parts, rows = [], []
    for batch in (1, 16):
        instance = problem("matrix_quadratic", rotation="random", normalize="op", noise=noise, batch=batch)
        trace = lab.run(Cell(instance, method, horizons[-1], lab.runs(10), measures, horizons))
        later = trace.steps >= 1
        errors, steps = trace["gap"][:, later], trace.steps[later].astype(float)
        constants = {name: float(trace.constant(name)[0]) for name in trace.constants}
        known = {"D": float(trace["max_distance:op"].max()), "eta": 1 / sqrt(2), "eps": 0.0, "T": steps}
        bound = np.asarray(Bound(ASGO.smooth_bound(noisy=noise_term))({**constants, **known}))
        parts.append(bound_in_expectation(steps, errors, bound, label=f"M={batch}: mean f(wbar) / bound"))
        rows += [(batch, *row) for row in zip(steps.tolist(), (errors.mean(axis=0) / bound).tolist(), strict=True)]
    table = Table("Mean over seeds", ("M", "T", "mean f(wbar) / bound"), tuple(rows))
    return together(*parts, label="convex and smooth, with noise", panels=parts[0].panels, tables=(table,))

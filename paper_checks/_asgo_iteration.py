"""The iteration itself (C7): exact trajectories, exact invariances, the first step, and AdaGrad on singular values."""

from __future__ import annotations

from functools import partial
from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from theorysim.analyses.band import band
from theorysim.backend import CPU
from theorysim.findings import Finding, Panel, Series, together
from theorysim.lab import Lab
from theorysim.model import Cell, Control, Draw, Spec
from theorysim.noise import Draws, Stream
from theorysim.paper_checks import _asgo_recursions as recursions
from theorysim.paper_checks._asgo_paper import PAPER
from theorysim.registry import algorithm, claim, problem
from theorysim.trace import Trace

Floats = NDArray[np.float64]

_T, _ETA = 50, 0.5
_FIXED = {  # singular values of X_2, X_3, X_4, worked out with 40 digits
    0.0: ((0.2, -0.3), (0.054478624978, 0.124264068712), (0.014925824779, -0.044386713917)),
    0.1: ((0.235294117647, -0.06), (0.075571355020, 0.011154517712), (0.024469450830, -0.002068408369)),
}


def entries(m: int, n: int) -> tuple[str, ...]:
    """Measures that record every entry of an m x n iterate."""
    return tuple(f"coordinate:{k}" for k in range(m * n))


def iterates(trace: Trace, m: int, n: int) -> Floats:
    """``(rows, records, m, n)`` from a trace with those measures."""
    columns = np.stack([trace[name] for name in entries(m, n)], axis=-1)
    return columns.reshape(*columns.shape[:2], m, n)


# ------------------------------------------------------------------------------------------------ trajectories
_SHAPE = (3, 5)
_INSTANCE = problem(
    "matrix_quadratic",
    m=3,
    n=5,
    spectrum=[1.3, 0.7, 0.2],
    right=[1.0, 0.4, 0.9, 0.6, 0.8],
    rotation=[[0.5, 1 / sqrt(2), 0.5], [1 / sqrt(2), 0.0, -1 / sqrt(2)], [0.5, -1 / sqrt(2), 0.5]],
    start=[[1.0, -0.4, 0.3, 0.7, 0.1], [0.2, 0.9, -0.6, 0.5, 0.8], [-0.3, 0.4, 1.1, -0.9, 0.6]],
    noise=[0.5, 0.3, 0.2],
    batch=4,
)
_METHODS: dict[str, tuple[Spec, recursions.Move]] = {
    "ASGO": (algorithm("asgo", lr=0.4, eps=0.05), recursions.asgo(0.4, 0.05)),
    "ASGO, eps = 0": (algorithm("asgo", lr=0.4), recursions.asgo(0.4)),
    "ASGO from the right": (algorithm("asgo", lr=0.4, eps=0.05, side="right"), recursions.asgo_right(0.4, 0.05)),
    "one-sided Shampoo": (algorithm("one_sided_shampoo", lr=0.4, eps=0.2), recursions.one_sided_shampoo(0.4, 0.2)),
    "Shampoo": (algorithm("shampoo", lr=0.2, eps=0.05), recursions.shampoo(0.2, 0.05)),
    "DASGO": (algorithm("dasgo", lr=0.4, eps=0.05), recursions.dasgo(0.4, 0.05)),
    "DASGO of columns": (algorithm("dasgo", lr=0.4, eps=0.05, along="columns"), recursions.dasgo(0.4, 0.05, axis=0)),
    "Muon": (algorithm("muon", lr=0.1), recursions.muon(0.1)),
    "Muon, nuclear length": (algorithm("muon", lr=0.2, length="nuclear"), recursions.muon(0.2, nuclear=True)),
    "AdaGrad": (algorithm("adagrad", lr=0.2, eps=0.05), recursions.adagrad(0.2, 0.05)),
    "AdaGrad-Norm": (algorithm("adagrad_norm", lr=0.6, eps=0.05), recursions.adagrad_norm(0.6, 0.05)),
    "full-matrix AdaGrad": (algorithm("full_matrix_adagrad", lr=0.6, eps=0.05), recursions.full_matrix_adagrad(0.6, 0.05)),
    "GD": (algorithm("gradient_descent", lr=0.3), recursions.descent(0.3)),
    "SGD": (algorithm("sgd", lr=0.3), recursions.descent(0.3)),
}


@claim(
    PAPER,
    source="Algorithm 1 (source: a public summary); recomputed here from the definitions, and with 40 digits on aligned starts",
    kind="identity",
    statement=r"V_t=V_{t-1}+G_tG_t^\top,\qquad W_{t+1}=W_t-\eta\,(V_t^{1/2}+\varepsilon I)^{+}G_t",
    assumptions="3 x 5 with noise, 12 steps, and the compared methods on the same noise; a = (2, .5), x_1 = (.8, .3), eta = .6.",
    controls=[
        Control({"method": "Muon"}, "without accumulation"),
        Control({"method": "ASGO from the right"}, "the right side in place of the left"),
        Control({"method": "one-sided Shampoo"}, "eps inside the root"),
        Control({"method": "DASGO"}, "the diagonal of V_t in place of V_t"),
    ],
)
def exact_trajectory(lab: Lab, method: str | None = None) -> Finding:
    """The implementation follows ASGO's recursion to rounding, and no look-alike does; the compared methods follow theirs."""
    measures = ("gap", *entries(*_SHAPE))
    parts = []
    for name, (spec, move) in _METHODS.items() if method is None else ():
        trace = lab.run(Cell(_INSTANCE, algorithm("average", of=spec), 12, 1, measures, "all"))
        parts.append(_distance(trace, move, lab.seed, spec.name == "gradient_descent", f"{name}: distance from its recursion"))
    if method is None:
        return together(*parts, *map(partial(_fixed, lab), _FIXED), label="trajectory")
    spec, move = _METHODS[method][0], _METHODS["ASGO"][1]
    trace = lab.run(Cell(_INSTANCE, algorithm("average", of=spec), 12, 1, measures, "all"))
    return _distance(trace, move, lab.seed, False, f"{method} in the place of ASGO: distance from ASGO's recursion", 1e-4)


def _distance(trace: Trace, move: recursions.Move, seed: int, exact: bool, label: str, tolerance: float = 1e-10) -> Finding:
    """Largest distance, over all steps and entries, of the iterates and of the gap of their average from the recursion."""
    draws, (m, n), settings = Draws(CPU, seed, np.arange(1)), _SHAPE, _INSTANCE.arguments
    basis, b, v = (np.array(settings[key], dtype=float) for key in ("rotation", "right", "noise"))
    curvature = (basis * np.array(settings["spectrum"], dtype=float)) @ basis.T

    def gradient(w: Floats, t: int) -> Floats:
        noise = (basis * v) @ draws.normal(Stream.GRADIENT, Draw(t), (m, n))[0] / sqrt(n * settings["batch"])
        return np.asarray(curvature @ w * b + (0.0 if exact else noise))

    path = recursions.path(move, gradient, np.array(settings["start"], dtype=float), len(trace.steps) - 1)
    means = np.stack([path[0], *(path[:t].mean(axis=0) for t in range(1, len(path)))])
    gaps = 0.5 * np.sum(means * (curvature @ means * b), axis=(1, 2))
    off = max(np.abs(iterates(trace, m, n)[0] - path).max(), np.abs(trace["gap"][0] - gaps).max())
    return band(off, high=tolerance, label=label, predicted=0.0)


def _fixed(lab: Lab, eps: float) -> Finding:
    """The trajectory of the card: X_t keeps its singular vectors, so its norms tell the two numbers."""
    instance = problem("matrix_quadratic", m=2, n=3, spectrum=[2.0, 0.5], rotation="random", start="aligned", profile=[0.8, 0.3])
    trace = lab.run(Cell(instance, algorithm("asgo", lr=0.6, eps=eps), 3, 1, ("distance:op", "distance:nuclear"), "all"))
    sizes = np.sort(np.abs(np.array(_FIXED[eps])), axis=1)
    off = [np.abs(trace["distance:op"][0, 1:] - sizes[:, 1]), np.abs(trace["distance:nuclear"][0, 1:] - sizes.sum(axis=1))]
    return band(off, high=1e-10, label=f"a = (2, .5), x_1 = (.8, .3), eps = {eps}: distance from 40 digits", predicted=0.0)


# ------------------------------------------------------------------------------------------------ invariances
_INVARIANT = {
    "ASGO": ("asgo", "both"),
    "AdaGrad-Norm": ("adagrad_norm", "both"),
    "Shampoo": ("shampoo", "both"),
    "Muon": ("muon", "both"),
    "DASGO of rows": ("dasgo", "right"),
    "DASGO of columns": ("dasgo", "left"),
}
_TURNED = (12, 20)


@claim(
    PAPER,
    source="C7 (derived and measured)",
    kind="invariance",
    statement=r"(A,W_1,N_t)\to(PAP^\top,PW_1Q,PN_tQ)\ \Rightarrow\ W_t\to PW_tQ\quad\text{for orthogonal }P,Q",
    assumptions="12 x 20, a_i = i^-p with p = 1, 2, 4, |X_1|_op = 1, eta = .5, T = 50; without noise, and with noise turned too.",
    controls=[
        Control({"method": "adagrad"}, "one accumulator per entry depends on the axes"),
        Control({"method": "dasgo"}, "one accumulator per row depends on the left axes"),
        Control({"method": "dasgo", "turned": "right"}, "but not on the right ones", fires=False),
    ],
)
def orthogonal_invariance(lab: Lab, method: str | None = None, turned: str = "left") -> Finding:
    """In turned coordinates ASGO takes the turned steps, over the whole run; entrywise and rowwise methods do not."""
    parts = []
    for label, (name, sides) in _INVARIANT.items() if method is None else {method: (method, turned)}.items():
        params: dict[str, Any] = {"along": "columns"} if label == "DASGO of columns" else {}
        # With eps = 1e-6 rounding grows tenfold a step in directions that no gradient has: they have the root of eps.
        params |= {"eps": 1e-2} if name == "shampoo" else {}
        params["lr"] = 0.1 if name == "muon" else _ETA
        for decay, noise in ((1.0, 0.0), (1.0, 0.3), *(((2.0, 0.0), (4.0, 0.0)) if label == "ASGO" else ())):
            settings = {"m": _TURNED[0], "n": _TURNED[1], "decay": decay, "noise": noise, "normalize": "op"}
            parts += _turned(lab, algorithm(name, **params), settings, sides, f"{label}, p={decay:g}, noise {noise:g}")
    if method is not None:  # by the difference alone: what does not move is invariant
        parts = parts[::2]
    return together(*parts, label="orthogonal invariance", panels=parts[0].panels)


def _turned(lab: Lab, spec: Spec, settings: dict[str, Any], sides: str, label: str) -> list[Finding]:
    """Largest |P X_t Q - X'_t| over all steps and entries; and the iterates move."""
    plain, other = (problem("matrix_quadratic", **settings, turned=turned) for turned in (None, sides))
    runs = lab.runs(lab.pick(quick=2, full=10))
    here, there = (
        iterates(lab.run(Cell(instance, spec, _T, runs, entries(*_TURNED), "all")), *_TURNED) for instance in (plain, other)
    )
    p, q = lab.build(other).capabilities["turn"]
    expected = here if p is None else p @ here
    error = np.abs((expected if q is None else expected @ q) - there).max(axis=(0, 2, 3))
    moved = np.abs(here[:, -1] - here[:, 0]).max(axis=(1, 2))
    curve = Series("largest difference", tuple(map(float, range(1, _T + 1))), tuple(np.maximum(error[1:], 1e-18)))
    limit = Series("allowed", (1.0, float(_T)), (1e-8, 1e-8), "limit")
    panel = Panel(label, "step", "difference", (curve, limit))
    return [
        band(error, high=1e-8, label=f"{label}: largest difference over all steps", predicted=0.0, panels=(panel,)),
        band(moved, low=0.05, label=f"{label}: movement"),
    ]


@claim(
    PAPER,
    source="C7 (derived and measured)",
    kind="invariance",
    statement=r"f\to cf,\ \varepsilon=0\ \Rightarrow\ W_t\to W_t",
    assumptions="12 x 20, a_i = 1/i, eta = .5, T = 50, c = 1e-6, .1, 1000; with noise of the size of the gradient, scaled too.",
    controls=[
        Control({"eps": 0.1}, "a regulariser has the unit of a gradient"),
        Control({"method": "gradient_descent"}, "gradient descent with a fixed step depends on the scale"),
    ],
)
def scale_invariance(lab: Lab, method: str = "asgo", eps: float = 0.0) -> Finding:
    """Without a regulariser ASGO takes the same steps on c f as on f."""
    spec = algorithm(method, lr=_ETA, **({"eps": eps} if method == "asgo" else {}))
    paths = {}
    for scale in (1.0, 1e-6, 0.1, 1e3):
        instance = problem(
            "matrix_quadratic", m=_TURNED[0], n=_TURNED[1], scale=scale, noise=0.5, noise_law="spectrum", normalize="op"
        )
        runs = lab.runs(lab.pick(quick=2, full=10))
        paths[scale] = iterates(lab.run(Cell(instance, spec, _T, runs, entries(*_TURNED), "all")), *_TURNED)
    parts = [
        band(np.abs(path - paths[1.0]), high=1e-8, label=f"c={scale:g}: largest difference over all steps", predicted=0.0)
        for scale, path in paths.items()
        if scale != 1.0
    ]
    if method != "asgo":  # what does not move is invariant
        return together(*parts, label="scale invariance")
    moved = band(np.abs(paths[1.0][:, -1] - paths[1.0][:, 0]).max(axis=(1, 2)), low=0.05, label="movement")
    return together(*parts, moved, label="scale invariance")

"""Assumptions of the instances (A1, A2, B9), and logistic regression on synthetic and real data (section 6 of the derivation)."""

from __future__ import annotations

from math import nan

import numpy as np

from theorysim.analyses.band import band
from theorysim.analyses.bound_ratio import bound_ratio
from theorysim.analyses.certificate import certificate
from theorysim.analyses.steps_to import steps_to
from theorysim.backend import to_host
from theorysim.findings import Finding, Table, together
from theorysim.lab import Lab
from theorysim.model import Cell, Control, Spec
from theorysim.paper_checks._adagrad_paper import CONVEX, CONVEX_TERMS, PAPER
from theorysim.paper_checks._grids import half_octaves
from theorysim.registry import algorithm, claim, problem

_DATA = ("census", "breast_cancer", "digits")
_RIDGE = 1e-3
_VARIANCE = "variance / bound, over all coordinates"  # how a certificate names it
_GD_GRID = (0.4, 0.7, 1.0, 1.2, 1.4, 1.6, 1.7, 1.8, 1.9, 1.98)


@claim(
    PAPER,
    source="A1, A2 (source: abstract; form recalled), B9 (4)",
    kind="identity",
    statement=r"f(y)\le f(x)+\langle\nabla f(x),y-x\rangle+\tfrac12\sum_jL_j(y_j-x_j)^2,\qquad\mathbb E[n_j^2]\le\sigma_j^2/M",
    assumptions="The instances of the other claims; constants are measured again on the built instance.",
    controls=[
        Control({"unrotated": True}, "the spectrum is no L once the Hessian is rotated: diag(L) - H is traceless, not PSD")
    ],
)
def assumptions_hold(lab: Lab, unrotated: bool = False) -> Finding:
    """Every instance satisfies the smoothness and noise assumptions with the constants it declares."""
    start = {"start": "uniform", "low": 0.5, "high": 1.0}
    rotated = problem("anisotropic_quadratic", dim=64, spectrum="head_bulk", rotation="random", **start)
    if unrotated:
        built = lab.build(rotated)
        return certificate(built, L=built.capabilities["spectrum"], label="unrotated L on a rotated Hessian")
    instances = [
        problem("anisotropic_quadratic", dim=100, noise=0.5, noise_law="spectrum", batch=4, **start),
        problem("anisotropic_quadratic", dim=100, spectrum="head_bulk", **start),
        rotated,
        problem("anisotropic_quadratic", dim=64, decay=2.0, rotation="hadamard", start="power", start_decay=0.6, normalize="2"),
        problem("separable_nonconvex", dim=50, noise=0.1, noise_law="spectrum", start="uniform", low=0.0, high=3.0),
        problem("cosh_sum", dim=50, start="ones", distance=3.0),
        *map(_regression, _DATA),
    ]
    certificates = lab.map(lambda spec: certificate(lab.build(spec), label=str(spec)), instances)
    return together(*certificates, *_attained(certificates), label="assumptions")


def _attained(certificates: list[Finding]) -> list[Finding]:
    """Constants that are too large would hold as well and make every bound look loose: these are met by some steps."""
    leaves = [leaf for found in certificates for leaf in found.leaves()]
    parts = []
    for name in ("anisotropic smoothness", "lambda_max"):
        met = [leaf.measured or 0.0 for leaf in leaves if leaf.label.startswith(f"{name} on pairs")]
        parts.append(band(met, low=0.99, label=f"{name} is attained on every instance", predicted=1.0))
    noise = [leaf.details[_VARIANCE] for leaf in leaves if _VARIANCE in leaf.details]
    return [*parts, band(noise, 0.8, 1.25, label="variance of the noise / sigma^2 / M", predicted=1.0)]


def _regression(data: str) -> Spec:
    return problem("logistic_regression", data=data, ridge=_RIDGE)


@claim(
    PAPER,
    source="Section 6, K13 (derived: row sums are the optimal L for a non-negative Hessian bound)",
    kind="identity",
    statement=r"L_j=\frac1{4N}\sum_i|x_{ij}|\,\|x_i\|_1:\qquad\|L\|_1=\frac{q^2}4,\quad\mathrm{tr}\,H=\frac q4,"
    r"\quad\mathrm{diag}(L)\succeq H",
    assumptions="One-hot data, q = 14 groups, N = 4781 samples, d = 123 (the ridge taken off); the two real data sets.",
    controls=[Control({"diagonal": True}, "L_j = H_jj ignores the correlation of the features")],
)
def one_hot_smoothness(lab: Lab, diagonal: bool = False) -> Finding:
    """On one-hot data the l1 norm of L is q^2/4 whatever the dimension, and L certifies the Hessian."""
    parts = []
    for data in _DATA:
        built = lab.build(_regression(data))
        hessian = built.capabilities["hessian"]()
        smooth = np.diag(hessian) if diagonal else to_host(built.vectors["L"])
        least = float(np.linalg.eigvalsh(np.diag(smooth) - hessian)[0])
        if data == "census":
            shift = _RIDGE * len(smooth)  # the ridge adds itself to every L_j and H_jj
            parts += [
                band((float(smooth.sum()) - shift) / 49.0, 1 - 1e-12, 1 + 1e-12, label="‖L‖_1 over q^2/4", predicted=1.0),
                band((float(np.trace(hessian)) - shift) / 3.5, 1 - 1e-12, 1 + 1e-12, label="tr H over q/4", predicted=1.0),
            ]
        parts.append(band(least, low=-1e-12, label=f"{data}: least eigenvalue of diag(L) - H", predicted=0.0))
    return together(*parts, label="smoothness of logistic regression")


@claim(
    PAPER,
    source="B2 on logistic regression (section 6, derived); D_inf is measured on the run",
    kind="upper",
    statement=r"f(\bar w_T)-f^*\le\frac{2c^2\|L\|_1D_\infty^2}T\quad\text{on data}",
    bound=CONVEX,
    assumptions="Ridge 1e-3, w_1 = 0, eps = 0, eta = |w_1 - w*|_inf/sqrt(2); census-like, breast_cancer, digits by parity.",
    controls=[Control({"fault": "frozen", "names": ("census",)}, "an optimizer that never moves keeps its error")],
)
def logistic_regression_bound(lab: Lab, fault: str | None = None, names: tuple[str, ...] = _DATA) -> Finding:
    """On synthetic and real data the convex bound holds at every T, with L certified from the data."""
    inner = algorithm("adagrad", lr="D_inf_0/sqrt(2)")
    if fault is not None:
        inner = algorithm("faulty_adagrad", fault=fault, lr="D_inf_0/sqrt(2)")
    method, horizon = algorithm("average", of=inner), lab.pick(quick=2000, full=20_000)
    parts = []
    for data in names:
        trace = lab.run(Cell(_regression(data), method, horizon, 1, ("gap", "max_distance:inf")))
        where = {**CONVEX_TERMS, "eps": 0.0}
        parts.append(
            bound_ratio([trace], of="gap", bound=CONVEX, where=where, label=f"{data}: f(wbar) / bound, T = 1..{horizon}")
        )
    tables = () if fault else (_steps_on_data(lab),)
    return together(*parts, label="bound on data", panels=parts[0].panels, tables=tables)


def _steps_on_data(lab: Lab) -> Table:
    """Steps to relative accuracy 1e-3, best step size on each method's grid; reported, not judged (bounds do not order)."""
    every = lab.pick(quick=2, full=1)  # octaves are enough for a first look
    methods = {
        "gradient descent": algorithm(
            "gradient_descent", lr=[f"{multiple}/lambda_max" for multiple in _GD_GRID[every - 1 :: every]]
        ),
        "AdaGrad-Norm": algorithm("adagrad_norm", lr=half_octaves("D_2_0", -3, 3)[::every]),
        "AdaGrad": algorithm("adagrad", lr=half_octaves("D_inf_0", -3, 3)[::every]),
    }
    outcome, cap, rows = steps_to(1e-3), lab.pick(quick=1500, full=10_000), []
    for data in _DATA:
        cells = [
            Cell(_regression(data), method, cap, 1, record=outcome.record, until=outcome.until) for method in methods.values()
        ]
        traces = lab.run_all(cells)
        counts = [float(np.nanmin(count)) if np.isfinite(count := outcome.read(trace)).any() else nan for trace in traces]
        c = traces[0].constants
        d_inf, d_2 = float(traces[0].constant("D_inf_0")[0]), float(traces[0].constant("D_2_0")[0])
        smooth = c["L_1norm"] * d_inf**2 / (c["lambda_max"] * d_2**2)
        shown = [f"> {cap}" if np.isnan(count) else f"{count:g}" for count in counts]
        rows.append((data, c["dim"], *shown, c["L_1norm"], c["lambda_max"], d_inf, d_2, smooth))
    columns = ("data", "d", *methods, "‖L‖_1", "λ_max", "D_inf", "D_2", "‖L‖_1 D_inf²/(λ D_2²)")
    return Table("Steps to 1e-3 of the initial error on logistic regression (best step size; last iterate)", columns, tuple(rows))

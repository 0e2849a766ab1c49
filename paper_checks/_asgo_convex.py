"""Convex functions that are not smooth (C2): convergence in the gradients that were met, their span, and the dimension."""

from __future__ import annotations

from math import inf, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from theorysim.analyses.band import band
from theorysim.analyses.bound_on_means import bound_on_means
from theorysim.analyses.bound_ratio import bound_ratio
from theorysim.analyses.slope import slope
from theorysim.analyses.steps_to import steps_to
from theorysim.bounds import Bound
from theorysim.findings import Finding, Table, together
from theorysim.lab import Lab
from theorysim.model import Cell, Control, Search, Spec
from theorysim.paper_checks._asgo_paper import ASGO, PAPER
from theorysim.paper_checks._grids import half_octaves
from theorysim.registry import algorithm, claim, problem
from theorysim.trace import Trace

_PRESCRIBED = algorithm("average", of=algorithm("asgo", lr="D_op_0/sqrt(2)", eps=0.0))
_MEASURES = ("gap", *ASGO.measures, "adaptive_norm:scalar")
_NOT_VACUOUS = 0.1
_APRIORI = "(D**2/(2*eta) + eta)*{norm}/sqrt(T) + eps*m*D**2/(2*eta*T)"


@claim(
    PAPER,
    source="C2 (a) and (c), derived (the paper's theorem for E G G' <= Q^2 is of this type, recalled)",
    kind="upper",
    statement=r"f(\bar w_T)-f^*\le\frac1T\Big(\frac{D_{\mathrm{op}}^2}{2\eta}+\eta\Big)\mathrm{tr}\,V_T^{1/2}"
    r"\le\frac{\sqrt2\,D_{\mathrm{op}}\|Q\|_*}{\sqrt T}\quad\text{for }\eta=D_{\mathrm{op}}/\sqrt2",
    bound=ASGO.nonsmooth,
    assumptions="Exact subgradients; D_op and V_T are measured on the run, at every T. Rotated group norm, head and bulk, n = m; "
    "eps = 0, eta = D_op/sqrt(2) at the start. Full: m in {16, 32, 64}, T <= 3000. ‖Q‖_* = sum of the weights.",
    controls=[
        Control({"norm": "c_2norm"}, "with ‖Q‖_F in place of ‖Q‖_* the trace of V_T^{1/2} is too large"),
        Control({"noisy": True}, "with noise it is false run by run: |x| and a coin that hides the only gradient"),
    ],
    search=Search(
        problem("rotated_group_norm", m=4, n=4, spectrum="power", decay=0.0, normalize="op"),
        algorithm("average", of=algorithm("asgo", lr=1 / sqrt(2), eps=0.0)),
        over={
            "m": (1, 8),
            "n": (1, 8),
            "decay": (0.0, 3.0),
            "start": ["gaussian", "profile", "signs", "identity"],
            "profile_decay": (0.0, 2.0),
            "lr": (0.1, 3.0),
            "eps": (0.0, 1.0),
        },
        steps=100,
        of="gap",
        bound=ASGO.nonsmooth,
        where=ASGO.where,
    ),
)
def convex_nonsmooth(lab: Lab, norm: str = "Q_nuclearnorm", noisy: bool = False) -> Finding:
    """On a function with kinks the average iterate stays below both bounds, and tr V_T^{1/2} grows like the root of T."""
    if noisy:
        return _against([_absolute_value(lab)], ASGO.nonsmooth, "|x|, run by run")
    parts = []
    for m, steps in lab.pick(quick=[(16, 1000), (32, 100), (64, 30)], full=[(16, 3000), (32, 3000), (64, 3000)]):
        runs = lab.runs(lab.pick(quick=1, full=2))
        trace = lab.run(Cell(problem("rotated_group_norm", m=m), _PRESCRIBED, steps, runs, _MEASURES, "all"))
        met = _against([trace], ASGO.nonsmooth, f"m={m}, in the gradients met")
        summed = bound_ratio([trace], of="adaptive_norm:left", bound=f"{norm}*sqrt(T)", label=f"m={m}: tr V_T^(1/2) / bound")
        parts += [
            met,
            band(met.measured or 0.0, low=_NOT_VACUOUS, label=f"m={m}: not vacuous"),
            _against([trace], _APRIORI.format(norm=norm), f"m={m}, before the run"),
            summed,
            _growth(trace, f"m={m}: slope of tr V_T^(1/2)"),
        ]
    return together(*parts, label="convex, not smooth", panels=(parts[0].panels[0], parts[4].panels[0]))


def _against(traces: list[Trace], bound: str, label: str) -> Finding:
    return bound_ratio(traces, of="gap", bound=bound, where=ASGO.where, label=f"f(wbar) / bound, {label}")


def _growth(trace: Trace, label: str) -> Finding:
    at = np.unique(np.rint(np.geomspace(1, trace.steps[-1], 12)).astype(int))
    mean = trace["adaptive_norm:left"][:, at].mean(axis=0)
    return slope(at.tolist(), mean, low=0.45, high=0.55, label=label, predicted=0.5, quantity="tr V_T^(1/2)")


def _absolute_value(lab: Lab) -> Trace:
    """f = |x|, x_1 = 1, G = 2 sign(x) or 0, by a fair coin."""
    return lab.run(Cell(problem("frobenius_norm_distance", kept=0.5), _PRESCRIBED, 20, lab.runs(400), _MEASURES, "all"))


# ------------------------------------------------------------------------------------------------ low rank
@claim(
    PAPER,
    source="C2, low-rank form (derived)",
    kind="upper",
    statement=r"\mathrm{tr}\,V_T^{1/2}\le\Big(r_V\sum_{t\le T}\|G_t\|_F^2\Big)^{1/2},\quad r_V=\mathrm{rank}\,V_T",
    bound="(D**2/(2*eta) + eta)*sqrt(r*F**2)/T",
    assumptions="Spectral norm of the error: every gradient has rank 1, the span has dimension at most min(m, n, T); 12 x 12 and "
    "10 x 20. Rotated group norm: r_V <= m. F^2 is the sum of the squared Frobenius norms.",
    controls=[Control({"rank": "1"}, "the rank of one gradient is not that of their span: it grows up to min(m, n)")],
)
def span_of_low_rank_gradients(lab: Lab, rank: str = "Min(m, n, T)") -> Finding:
    """Low rank helps by the rank of the span of all gradients: rank one at every step is not enough."""
    runs, steps, measures = lab.runs(lab.pick(quick=2, full=10)), lab.pick(quick=60, full=600), (*_MEASURES, "nuclear_rank")
    distances = [problem("spectral_norm_distance", m=m, n=n) for m, n in ((12, 12), (10, 20))]
    traces = lab.run_all(Cell(instance, _PRESCRIBED, steps, runs, measures, "all") for instance in distances)
    groups = lab.run(Cell(problem("rotated_group_norm", m=12, n=20), _PRESCRIBED, steps, runs, measures, "all"))
    rest = "(D**2/(2*eta) + eta)*sqrt({rank}*F**2)/T"
    where = {**ASGO.where, "F": "adaptive_norm:scalar"}

    def of(measure: str, found: list[Trace], bound: str, label: str) -> Finding:
        return bound_ratio(found, of=measure, bound=bound, where=where, label=label)

    spread = np.array([trace["adaptive_norm:left"][:, -1] / trace["adaptive_norm:scalar"][:, -1] for trace in traces])
    single = np.array([trace["nuclear_rank"][:, 1:] for trace in traces])
    parts = [
        of("adaptive_norm:left", traces, f"sqrt({rank})*F", "rank-one gradients: tr V^(1/2) / bound"),
        of("gap", traces, rest.format(rank=rank), "rank-one gradients: f(wbar) / bound"),
        of("adaptive_norm:left", [groups], "sqrt(m)*F", "full-rank gradients: tr V^(1/2) / bound"),
        of("gap", [groups], rest.format(rank="m"), "full-rank gradients: f(wbar) / bound"),
        band(single, 1 - 1e-9, 1 + 1e-9, label="nuclear rank of a gradient of the spectral norm", predicted=1.0),
        band(spread, low=sqrt(2), label="tr V^(1/2) / F at the end: the span has grown beyond dimension 2"),
    ]
    return together(*parts, label="span of low-rank gradients", panels=parts[0].panels)


# ------------------------------------------------------------------------------------------------ noise
@claim(
    PAPER,
    source="C2 (b), derived",
    kind="upper",
    statement=r"\mathbb Ef(\bar w_T)-f^*\le\frac1T\,\mathbb E\Big[\Big(\frac{D_{\mathrm{op}}^2}{2\eta}+\eta\Big)"
    r"\mathrm{tr}\,V_T^{1/2}\Big],\qquad\mathbb E\,\mathrm{tr}\,V_T^{1/2}\le\sqrt T\,\|Q\|_*",
    bound=ASGO.nonsmooth,
    assumptions="12 x 12, 30 seeds, noise .3 Z/sqrt(n): a quadratic and the rotated group norm, a_i = c_i = 1/i; T in {20, 100}, "
    "full also 400; |x| with a gradient seen by a fair coin, 400 seeds. D_op, V_T measured; both sides are means over seeds.",
    controls=[Control({"per_run": True}, "run by run it is false: on |x| the coin can hide all gradients, and the bound is 0")],
)
def convex_nonsmooth_in_expectation(lab: Lab, per_run: bool = False) -> Finding:
    """With noise the bound in the gradients met holds in the mean over seeds, also where it fails on single runs."""
    coin = _absolute_value(lab)
    if per_run:
        return _against([coin], ASGO.nonsmooth, "|x|, run by run")
    horizons = lab.pick(quick=(20, 100), full=(20, 100, 400))
    settings: dict[str, Any] = {"m": 12, "n": 12, "decay": 1.0, "rotation": "random", "noise": 0.3}
    quadratic = problem("matrix_quadratic", **settings)
    groups = problem("rotated_group_norm", spectrum="power", **settings)
    first, second = lab.run_all(
        Cell(instance, _PRESCRIBED, horizons[-1], lab.runs(30), _MEASURES, horizons) for instance in (quadratic, groups)
    )
    named = {"quadratic": first, "rotated group norm": second, "|x|": coin}
    parts = [
        bound_on_means(trace, of="gap", bound=ASGO.nonsmooth, where=ASGO.where, label=f"{name}: mean f(wbar) / mean bound")
        for name, trace in named.items()
    ]
    limit = Bound("Q_nuclearnorm*sqrt(T)")({"Q_nuclearnorm": second.constant("Q_nuclearnorm")[0], "T": np.array(horizons)})
    summed = second["adaptive_norm:left"][:, second.steps >= 1].mean(axis=0) / limit
    parts.append(band(summed, 0.9, 1.01, label="mean tr V_T^(1/2) / (sqrt(T) ‖Q‖_*), where the bound is tight", predicted=1.0))
    return together(*parts, label="convex, not smooth, with noise", panels=tuple(part.panels[0] for part in parts[:3]))


# ------------------------------------------------------------------------------------------------ dimension
_METHODS = {"sgd": "D_2_0/c_2norm", "asgo": "D_op_0"}


@claim(
    PAPER,
    source="C2, exponents (derived; step counts measured)",
    kind="rate",
    statement=r"\text{steps to }f\le.1f(w_1):\quad\text{SGD}\sim D_F^2\|c\|_2^2\sim m,\qquad"
    r"\text{ASGO}\sim D_{\mathrm{op}}^2\|Q\|_*^2\sim m^0",
    bound="sqrt(2)*D_op_0*Q_nuclearnorm/sqrt(T)",
    assumptions="Rotated group norm, head and bulk (sum of c about 9.2 at every m), n = m in {16, 32, 64}, full also 128; best "
    "step size of 2^(k/2), k = -8..4, times ‖X_1‖_F/‖c‖_2 (SGD) or D_op (ASGO). Bands: SGD, last iterate .75..1.25; ASGO <= .15.",
    controls=[Control({"method": "sgd"}, "SGD in ASGO's place pays for the dimension")],
)
def dimension_of_nonsmooth(lab: Lab, method: str = "asgo") -> Finding:
    """Steps to a tenth of the first value grow like m for SGD and not at all for ASGO, on the same nonsmooth functions."""
    sizes = lab.pick(quick=(16, 32, 64), full=(16, 32, 64, 128))
    judged = [(method, False), (method, True)] if method == "asgo" else [(method, False)]
    counts = {(name, mean): _steps(lab, name, mean, sizes) for name, mean in (*judged, ("sgd", False))}

    def against_m(each: tuple[str, bool], low: float, high: float, predicted: float) -> Finding:
        label = f"{each[0]}, {_iterate(each[1])}"
        return slope(sizes, counts[each], low=low, high=high, label=label, predicted=predicted, variable="m", quantity="steps")

    parts = [*(against_m(each, -inf, 0.15, 0.0) for each in judged), against_m(("sgd", False), 0.75, 1.25, 1.0)]
    rows = tuple((f"{name}, {_iterate(mean)}", *map(float, steps)) for (name, mean), steps in counts.items())
    table = Table("Steps to f <= .1 f(w_1) at the best step size", ("method", *(f"m={m}" for m in sizes)), rows)
    return together(*parts, label="steps against m", panels=parts[0].panels + parts[-1].panels, tables=(table,))


def _iterate(mean: bool) -> str:
    return "average iterate" if mean else "last iterate"


def _steps(lab: Lab, name: str, mean: bool, sizes: tuple[int, ...]) -> NDArray[np.float64]:
    """Steps of the best step size, mean over seeds, for each m; infinite where one seed does not arrive in 200 steps."""
    outcome = steps_to(0.1)
    inner = algorithm(name, lr=half_octaves(_METHODS[name], -4, 2))
    chosen: Spec = algorithm("average", of=inner) if mean else inner
    runs = lab.runs(8 if name == "sgd" else lab.pick(quick=1, full=3))
    traces = lab.run_all(
        Cell(problem("rotated_group_norm", m=m), chosen, 200, runs, record=outcome.record, until=outcome.until) for m in sizes
    )
    found = [outcome.read(trace) for trace in traces]
    return np.array([float(np.where(np.isnan(count), inf, count).min(axis=0).mean()) for count in found])

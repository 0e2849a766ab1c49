"""L-SVRG on one pool of components, with exact averages (A1): its bound, and how the steps grow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from theorysim.analyses.band import band
from theorysim.analyses.bound_ratio import bound_ratio
from theorysim.analyses.slope import slope
from theorysim.bounds import Bound
from theorysim.findings import Finding, together
from theorysim.lab import Lab
from theorysim.model import Cell, Control, Spec
from theorysim.paper_checks._decentralized_paper import (
    EXPLICIT,
    PAPER,
    SVRG_RATE,
    SVRG_STEP,
    Floats,
    arrival_cell,
    arrivals,
    host,
    pool,
    rate,
    steps_of,
    svrg,
    with_values,
)
from theorysim.registry import algorithm, claim
from theorysim.trace import Trace

_PSI = "distance + 4*lr**2/(b*chance)*variance"
_THETA = "Min(mu*lr, chance/2)"
_ENVELOPE = f"Psi_0*(1 - {_THETA})**T"
_EPS = 1e-6
_MEASURES = ("square_distance", "snapshot_variance", "decay")


def lyapunov(trace: Trace) -> Floats:
    """E Psi of an exact cell of L-SVRG."""
    known: dict[str, Any] = {name: trace.constant(name)[:, None] for name in trace.constants}
    known |= {name: trace.hyper(name)[:, None] for name in ("lr", "chance")}
    known |= {"b": trace.hyper("batch")[:, None], "distance": trace["square_distance"], "variance": trace["snapshot_variance"]}
    with np.errstate(over="ignore"):
        return np.asarray(Bound(_PSI)(known))


def horizon(lab: Lab, where: Spec, batch: int, eps: float = _EPS, **more: float) -> int:
    """More than half of what the bound on Psi allows: twice what is measured is 0.8 of it."""
    return int(0.7 * np.log(1 / eps) / rate(where, SVRG_RATE, batch, lab, **more)) + 50


# ------------------------------------------------------------------------------------------------ the bound
@claim(
    PAPER,
    source="L-SVRG recalled (Hofmann and others; Kovalev, Horvath, Richtarik); bound and constants derived",
    kind="upper",
    statement=r"\mathbb E\Psi_k\le(1-\theta)^k\Psi_0,\quad\Psi=\|x-x^*\|^2+\tfrac{4\eta^2}{bp}\sigma^2(w),\quad"
    r"\eta=\frac1{L_g+6L_s/b},\quad\theta=\min(\mu\eta,\tfrac p2)",
    bound=_ENVELOPE,
    assumptions="N = 512, d = 16, p = b/N, uniform sampling; two-level and log spectra, kappa = 30, 300, b = 1, 16, 256; exact "
    "averages. sigma^2(w): mean of |grad f_ij(w) - grad f_ij(x*)|^2/(N q_ij).",
    controls=[
        Control({"lr": "1/L_g", "batches": (1,)}, "a step that ignores the components' smoothness L_s/b, with one of 512 a step"),
        Control({"times": 3.0}, "three times the guaranteed exponent; the measured one is twice as large"),
    ],
)
def bound_on_pooled_svrg(lab: Lab, lr: str = SVRG_STEP, batches: Sequence[int] = (1, 16, 256), times: float = 1.0) -> Finding:
    """The Lyapunov function of L-SVRG on the pool falls by the guaranteed factor, with the global condition number."""
    traces, rates = [], []
    for spectrum in ("two", "log"):
        for kappa in (30.0, 300.0):
            for b in batches:
                where, steps = pool(16, kappa, spectrum), lab.pick(quick=3000, full=20_000)
                trace = lab.run(Cell(where, svrg(b, lr=lr.format(b)), steps, 1, _MEASURES, "all", exact=True))
                psi = lyapunov(trace)
                traces.append(with_values(trace, Psi=psi, Psi_0=np.broadcast_to(psi[:, :1], psi.shape)))
                theta = Bound(_THETA)({"mu": 1 / kappa, "lr": trace.hyper("lr")[0], "chance": trace.hyper("chance")[0]})
                rates.append(np.log1p(-trace["decay"][0, 0]) / np.log1p(-theta) if trace["decay"][0, 0] < 1 else np.nan)
    names = {"Psi_0": "Psi_0", "lr": "lr", "chance": "chance"}
    text = _ENVELOPE.replace("**T", f"**({times}*T)")
    kept = bound_ratio(traces, of="Psi", bound=text, where=names, label="E Psi_k / bound")
    ratio = band(rates, 1.0, 2.1, label="rate in the long run / guaranteed rate", predicted=2.0)
    return together(kept, ratio, label="pooled L-SVRG", panels=kept.panels)


# ------------------------------------------------------------------------------------------------ exponents
@claim(
    PAPER,
    source=f"abstract: bounds by the global condition number (source); exponent derived, {EXPLICIT}",
    kind="rate",
    statement=r"T(\varepsilon)=\max\big(\kappa_g+\tfrac{6\kappa_s}b,\tfrac2p\big)\ln\tfrac1\varepsilon",
    assumptions="N = 512, d = 16, p = b/N; kappa = 10, 30, 100, 300, b = 1 and 16, two-level spectrum (full: also log); "
    "eps = 1e-6.",
    controls=[
        Control({"chance": 3e-4}, "snapshots too rare: 2/p decides, whatever the condition number"),
        Control({"lr": "sqrt(mu/L_g)/(L_g + 6*L_s/16)"}, "a step that shrinks with the condition number: exponent 3/2"),
    ],
)
def pooled_svrg_is_linear_in_kappa(lab: Lab, chance: float | None = None, lr: str | None = None) -> Finding:
    """The steps of L-SVRG on the pool grow linearly in the global condition number."""
    parts, kappas = [], (10.0, 30.0, 100.0, 300.0)
    changed: dict[str, Any] = {} if chance is None else {"chance": chance}
    changed |= {} if lr is None else {"lr": lr}
    for spectrum in lab.pick(quick=("two",), full=("two", "log")):
        for b in (16, 1):
            places = [pool(16, kappa, spectrum) for kappa in kappas]
            more = {} if chance is None else {"p": chance}
            slower = [1.0 if lr is None else kappa**0.5 for kappa in kappas]
            steps = [factor * horizon(lab, where, b, **more) for factor, where in zip(slower, places, strict=True)]
            cells = [arrival_cell(w, svrg(b, **changed), t, _EPS) for w, t in zip(places, steps, strict=True)]
            label = f"{spectrum}, b={b}: exponent of kappa"
            limits: dict[str, Any] = {"low": 0.95, "high": 1.05, "predicted": 1.0}
            parts.append(slope(kappas, steps_of(arrivals(lab, cells)), **limits, label=label, variable="kappa", quantity="T"))
            if changed:
                return parts[0]
    return together(*parts, label="exponent of kappa", panels=(parts[-1].panels[0],))


_BATCHES = (1, 4, 16, 64, 256)


@claim(
    PAPER,
    source=f"derived, {EXPLICIT}",
    kind="rate",
    statement=r"T\sim b^{-1}\ \text{until}\ b\approx6\kappa_s/\kappa_g,\ \text{then flat};\qquad L_s=\max_{ij}\frac{L_{ij}}"
    r"{Nq_{ij}}:\ \max L_{ij}\ \text{or}\ \tfrac1N\sum L_{ij}",
    bound=SVRG_RATE,
    assumptions="Log spectrum, N = 512, d = 16, kappa = 300 (quick: 100), p = b/N, b = 1 ... 256, eps = 1e-6; uniform sampling, "
    "and sampling by smoothness with b = 1.",
    controls=[
        Control({"lr": SVRG_STEP.format(1)}, "the step of one sample for all batches: a larger batch wins nothing"),
        Control({"importance": False}, "uniform sampling again, in the place of sampling by smoothness"),
    ],
)
def batches_and_importance(lab: Lab, lr: str | None = None, importance: bool = True) -> Finding:
    """Batches from the pool speed L-SVRG up in proportion until the global term is reached; sampling by smoothness replaces the
    largest smoothness by the mean one."""
    where = pool(16, lab.pick(quick=100.0, full=300.0), "log")
    given: dict[str, Any] = {} if lr is None else {"lr": lr}
    cells = [arrival_cell(where, svrg(b, **given), horizon(lab, where, 1 if lr else b), _EPS) for b in _BATCHES]
    found = steps_of(arrivals(lab, cells))
    scaled = found * [rate(where, SVRG_RATE, b, lab) for b in _BATCHES] / np.log(1 / _EPS)
    label = "exponent of b in T / (bound on T)"
    flat = slope(_BATCHES, scaled, low=-0.05, high=0.05, label=label, predicted=0.0, variable="b", quantity="T / bound")
    plain = slope(_BATCHES, found, label="exponent of b in T", variable="b", quantity="T")
    known = host(lab, where)
    step = "1/(L_g + 6*L_s_importance)" if importance else SVRG_STEP.format(1)
    method = svrg(1, importance=importance, lr=step)
    faster = found[0] / arrivals(lab, [arrival_cell(where, method, horizon(lab, where, 1), _EPS)])[0].steps
    claimed = (1 + 6 * known["L_s"] / known["L_g"]) / (1 + 6 * known["L_s_importance"] / known["L_g"])
    limits: dict[str, Any] = {"low": 0.98 * claimed, "high": 1.02 * claimed, "predicted": claimed}
    gain = band(faster, **limits, label="T, uniform / by smoothness", panels=plain.panels)
    return together(flat, gain, label="batches and importance", panels=(plain.panels[0], flat.panels[0]))


# ------------------------------------------------------------------------------------------------ what it needs
_FLOOR = "lr*h*om/(2 - lr*h*(1 + om))"
_STALLS: tuple[tuple[int, float, str, int], ...] = ((8, 100.0, "two", 16), (8, 30.0, "log", 4), (16, 10.0, "log", 1))


@claim(
    PAPER,
    source=f"derived: fixed point of the second moments; {EXPLICIT}",
    kind="identity",
    statement=r"p=0:\quad\frac{\mathbb E\|x_\infty-x^*\|^2}{\|x_0-x^*\|^2}=\frac1d\sum_k\frac{\eta h_k\,\omega}"
    r"{2-\eta h_k(1+\omega)},\qquad\omega=\frac{d-1}b",
    bound=_FLOOR,
    assumptions="Two instances of d = 8 and one of d = 16, N = 512, 8000 steps (full: also kappa = 300 with b = 1, 1e6 steps).",
    controls=[
        Control({"chance": 0.01}, "snapshots that are renewed: the error falls to nothing"),
        Control({"lr": "1/(L_g + 12*L_s/{})"}, "judged with the prescribed step, run with about half of it"),
    ],
)
def old_snapshots_leave_a_floor(lab: Lab, chance: float = 0.0, lr: str = SVRG_STEP) -> Finding:
    """A snapshot that is never renewed leaves an error that has a closed form."""
    parts = []
    stalls = [(*each, 8000) for each in _STALLS] + lab.pick(quick=[], full=[(16, 300.0, "log", 1, 1_000_000)])
    for dim, kappa, spectrum, b, steps in stalls:
        where = pool(dim, kappa, spectrum)
        trace = lab.run(
            Cell(where, svrg(b, chance=chance, lr=lr.format(b)), steps, 1, ("square_distance",), (0, steps), exact=True)
        )
        values = trace["square_distance"][0]
        known = host(lab, where)
        h = np.asarray(lab.build(where).capabilities["spectrum"])
        eta = Bound(SVRG_STEP.format(b))(known)
        claimed = float(np.mean(Bound(_FLOOR)({"lr": eta, "h": h, "om": (dim - 1) / b})))
        label = f"{spectrum}, d={dim}, kappa={kappa:g}, b={b}: floor / formula"
        parts.append(band(values[1] / values[0] / claimed, 1 - 1e-4, 1 + 1e-4, label=label, predicted=1.0))
    return together(*parts, label="floors")


_DIVERGE = {(1, 2), (1, 4), (1, 8), (1, 16), (16, 16), (16, 32)}
_CONVERGE = {(16, 2), (16, 8), (64, 8), (64, 16)}


@claim(
    PAPER,
    source=f"derived: second moments of the long run; {EXPLICIT}",
    kind="threshold",
    statement=r"\eta=\frac1{L_g}:\quad\text{diverges for small }b,\ \text{converges for }b\gg d",
    assumptions="Two-level spectrum, kappa = 100, N = 512, p = 1/64: b = 1 with d = 2 ... 16, b = 16 with d = 16, 32 "
    "diverge; b = 16 with d <= 8 and b = 64 with d <= 16 converge.",
    controls=[Control({"lr": SVRG_STEP}, "the prescribed step converges for every batch")],
)
def steps_must_heed_the_components(lab: Lab, lr: str = "1/L_g") -> Finding:
    """Steps of 1/L_g make L-SVRG diverge unless its batches are much larger than L_s/L_g."""
    parts = []
    for b, dim in sorted(_DIVERGE | _CONVERGE):
        method = algorithm("l_svrg", batch=b, chance=1 / 64, lr=lr.format(b))
        decay = float(lab.run(Cell(pool(dim), method, 1, 1, ("decay",), "last", exact=True))["decay"][0, -1])
        limits: dict[str, Any] = {"high": 0.0} if (b, dim) in _DIVERGE else {"low": 0.0}
        parts.append(band(decay, **limits, label=f"b={b}, d={dim}: decay a step"))
    return together(*parts, label="steps of 1/L_g")

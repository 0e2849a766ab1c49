"""Who holds what (A4), and how batches are split over agents (A5): what the pool makes independent, and what it costs."""

from __future__ import annotations

from typing import Any

import numpy as np

from theorysim.analyses.band import band
from theorysim.bounds import Bound
from theorysim.findings import Finding, Table, together
from theorysim.lab import Lab
from theorysim.model import Cell, Control, Spec
from theorysim.paper_checks._decentralized_paper import (
    EXPLICIT,
    PAPER,
    SPENT,
    Arrival,
    arrival,
    arrival_cell,
    arrivals,
    dec_katyusha,
    dec_svrg,
    host,
    katyusha,
    network,
    pool,
)
from theorysim.registry import algorithm, claim

LOCAL_STEP = "1/L_loc"
_MEASURES = ("agents_distance", *SPENT)


def deterministic(lab: Lab, where: Spec, name: str, lr: str = LOCAL_STEP, eps: float = 1e-8) -> Arrival:
    """T of a method with exact local gradients; at most twice what a step of this length needs."""
    known = host(lab, where)
    steps = int(1.2 * np.log(1 / eps) / (2 * known["mu"] * Bound(lr)(known))) + 50
    return arrival(lab.run(Cell(where, algorithm(name, lr=lr), steps, 1, _MEASURES, "all")), eps)


def stochastic(lab: Lab, where: Spec, name: str, rounds: int = 21) -> Arrival:
    method = dec_katyusha(rounds) if name == "dec_lkatyusha" else dec_svrg(rounds)
    kappa = host(lab, where)["kappa_g"]
    most = 6 * (kappa**0.5 + 10) * 8 if name == "dec_lkatyusha" else 20 * (kappa + 20)
    return arrivals(lab, [arrival_cell(where, method, most)])[0]


POOLED, LOCAL = ("dec_lkatyusha", "dec_lsvrg"), ("extra", "nids")


@claim(
    PAPER,
    source=f"abstract: earlier bounds depend on local condition numbers (source); statement derived, {EXPLICIT}",
    kind="invariance",
    statement=r"T_{\mathrm{sorted}}=T_{\mathrm{iid}}\ \text{(pool)},\qquad\frac{T_{\mathrm{sorted}}}{T_{\mathrm{iid}}}\approx"
    r"\frac{L_{\mathrm{loc}}}{L_g}\ \text{(steps of }1/L_{\mathrm{loc}})",
    assumptions="One pool of 512 components, permuted among 16 agents on a lazy ring; d = 8, two-level, kappa = 100 (full: also "
    "400), b = 64, p = 1/8, K = 21, eps = 1e-8; iid: local condition numbers are the global one; sorted: they are infinite.",
    controls=[
        Control({"pooled": LOCAL}, "EXTRA and NIDS in the place of the pooled methods slow down"),
        Control({"local": POOLED}, "pooled methods in the place of EXTRA and NIDS do not"),
    ],
)
def placement_does_not_matter(lab: Lab, pooled: tuple[str, ...] = POOLED, local: tuple[str, ...] = LOCAL) -> Finding:
    """Moving components between agents changes their local condition numbers, and nothing for methods that share the pool."""
    parts, rows = [], []
    for kappa in lab.pick(quick=(100.0,), full=(100.0, 400.0)):
        places = {placement: network(kappa=kappa, placement=placement) for placement in ("iid", "sorted")}
        known = {placement: host(lab, where) for placement, where in places.items()}
        worse = known["sorted"]["L_loc"] / known["iid"]["L_loc"]
        for name, free in [(name, True) for name in pooled] + [(name, False) for name in local]:
            find = deterministic if name in LOCAL else stochastic
            iid, sort = (find(lab, where, name) for where in places.values())
            rows.append((f"{name}, kappa={kappa:g}", iid.steps, sort.steps, sort.calls, sort.time, sort.rounds))
            label = f"{name}, kappa={kappa:g}"
            if free:
                off = abs(np.log(sort.steps / iid.steps))
                parts.append(band(off, high=0.1, label=f"{label}: |ln T_sorted/T_iid|", predicted=0.0))
            else:
                limits: dict[str, Any] = {"low": 0.9 * worse, "high": 1.1 * worse, "predicted": worse}
                parts.append(band(sort.steps / iid.steps, **limits, label=f"{label}: T_sorted/T_iid"))
    columns = ("method", "T, iid", "T, sorted", "component gradients, sorted", "computation time, sorted", "rounds, sorted")
    return together(*parts, label="placement", tables=(Table("Until 1e-8", columns, tuple(rows)),))


@claim(
    PAPER,
    source=f"derived; {EXPLICIT}",
    kind="threshold",
    statement=r"\eta\le\frac2{L_{\mathrm{loc}}}:\ \text{steps of }\tfrac1{L_g}\text{ diverge where }L_{\mathrm{loc}}\gg L_g",
    assumptions="EXTRA and NIDS with steps of 1/L_g on the lazy ring of 16, n = 32, d = 8, sorted, kappa = 100: L_loc = 8 L_g.",
    controls=[
        Control({"placement": "iid"}, "with L_loc = L_g the same step converges"),
        Control({"lr": LOCAL_STEP}, "steps of 1/L_loc converge"),
    ],
)
def local_smoothness_limits_exact_methods(lab: Lab, placement: str = "sorted", lr: str = "1/L_g") -> Finding:
    """EXTRA and NIDS with the step that the global smoothness would allow diverge on sorted data."""
    parts, where = [], network(placement=placement)
    for name in LOCAL:
        trace = lab.run(Cell(where, algorithm(name, lr=lr), 400, 1, ("agents_distance",), (0, 400)))
        first, last = trace["agents_distance"][0]
        grown = last / first if np.isfinite(last) else 1e300
        parts.append(band(grown, low=1e6, label=f"{name}: growth of the distance in 400 steps"))
    return together(*parts, label="steps of 1/L_g")


# ------------------------------------------------------------------------------------------------ batches
@claim(
    PAPER,
    source="abstract: nodes may use different batch sizes (source); variances derived; how the paper argues is not known",
    kind="separation",
    statement=r"m\mid b:\quad\mathrm{Var}_{\mathrm{equal}}=\tfrac1{bN}\sum\|d_{ij}\|^2-\tfrac1{bm}\sum_i\|\bar d_i\|^2\le"
    r"\mathrm{Var}_{\mathrm{pool}}=\tfrac1{bN}\sum\|d_{ij}\|^2-\tfrac1b\|\bar d\|^2",
    assumptions="Lazy ring of 16, n = 32, d = 8, kappa = 100, K = 21, b = 16 and 64, p = b/N, eps = 1e-8, iid and sorted; equal: "
    "b/m from every agent. The pool's own merits are b < m, b no multiple of m, and sampling by smoothness.",
    controls=[
        Control({"importance": True}, "the pool sampled by smoothness, which equal batches cannot be, needs fewer steps"),
        Control({"swapped": True}, "the two in each other's place: the load of the slowest agent shows"),
    ],
)
def equal_batches_are_no_worse(lab: Lab, importance: bool = False, swapped: bool = False) -> Finding:
    """Where m divides b, equal batches of all agents need no more steps than batches from the pool, and less time."""
    parts, rows, spectrum = [], [], "log" if importance else "two"
    given = {"importance": True, "smoothness_s": "L_s_importance"} if importance else {}
    for placement in ("iid", "sorted"):
        for b in (16, 64):
            where = network(placement=placement, spectrum=spectrum)
            methods = [dec_katyusha(21, b, **given), dec_katyusha(21, b, estimator="local")]
            both = arrivals(lab, [arrival_cell(where, each, 1500) for each in methods])
            pooled, equal = both[::-1] if swapped else both
            label = f"{placement}, b={b}"
            parts.append(band(equal.steps / pooled.steps, 0.98, 1.001, label=f"{label}: T, equal / pool", predicted=1.0))
            parts.append(band(equal.time / pooled.time, 0.2, 0.8, label=f"{label}: computation time, equal / pool"))
            rows.append((label, pooled.steps, equal.steps, pooled.time, equal.time))
    columns = ("instance", "T, pool", "T, equal", "computation time, pool", "computation time, equal")
    return together(*parts, label="equal batches", tables=(Table("Until 1e-8", columns, tuple(rows)),))


_LOAD = "b/m + sqrt(2*b/m*log(m)) + log(m)/3"


@claim(
    PAPER,
    source=f"derived: moment generating function of a binomial, union over agents; {EXPLICIT}",
    kind="upper",
    statement=r"\frac bm\le\mathbb E\max_ib_i\le\frac bm+\sqrt{\tfrac{2b}m\ln m}+\tfrac13\ln m",
    bound=_LOAD,
    assumptions="Batches of 4 ... 256 (full: 1024) from the pool of 4, 16, 64 agents, uniform sampling.",
    controls=[
        Control({"bound": "b/m"}, "the mean load: the slowest agent has more"),
        Control({"bound": "b/m + log(m)/3"}, "without the square root"),
    ],
)
def largest_load_of_an_agent(lab: Lab, bound: str = _LOAD) -> Finding:
    """The largest share of a batch from the pool, which sets the computation time of a step, exceeds the mean by little."""
    ratios, least = [], []
    for m in (4, 16, 64):
        where = pool(8, m=m, n=1024 // m)
        for b in lab.pick(quick=(4, 16, 64, 256), full=(4, 16, 64, 256, 1024)):
            trace = lab.run(Cell(where, katyusha(b, chance=0.25), 1, 1, ("computation_time",), "last", exact=True))
            load = (float(trace["computation_time"][0, -1]) - 0.25 * 1024 / m) / 2
            known = {"b": float(b), "m": float(m)}
            ratios.append(load / Bound(bound)(known))
            least.append(load * m / b)
    upper = band(ratios, high=1 + 1e-12, label="E max b_i / bound", predicted=1.0)
    return together(upper, band(least, low=1 - 1e-9, label="E max b_i / (b/m)"), label="largest load")

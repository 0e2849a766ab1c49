"""Logistic regression, where nothing is computed exactly, and all methods side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from theorysim.analyses.band import band
from theorysim.analyses.slope import slope
from theorysim.bounds import Bound
from theorysim.findings import Finding, Table, together
from theorysim.lab import Lab
from theorysim.model import Cell, Control, Spec
from theorysim.paper_checks._decentralized_paper import (
    EXPLICIT,
    GRAPHS,
    KATYUSHA_RATE,
    PAPER,
    Arrival,
    Floats,
    dec_katyusha,
    host,
    network,
    rounds_to,
)
from theorysim.paper_checks._decentralized_placement import deterministic, stochastic
from theorysim.registry import claim, problem

_EPS = 1e-8
_LAW = f"log(1/eps)/({KATYUSHA_RATE})"


def _logistic(graph: str, split: str = "order", ridge: float = 1e-3) -> Spec:
    return problem("decentralized_regression", ridge=ridge, graph=graph, split=split)


def _first_steps(lab: Lab, where: Spec, rounds: int, most: int, runs: int) -> Floats:
    """T of every run; NaN where the target was not reached."""
    trace = lab.run(Cell(where, dec_katyusha(rounds), most, runs, ("agents_distance",), "all"))
    values = trace["agents_distance"] ** 2
    with np.errstate(invalid="ignore"):
        hit = values <= _EPS * values[:, :1]
    return np.where(hit.any(axis=1), trace.steps[hit.argmax(axis=1)], np.nan).astype(float)


@claim(
    PAPER,
    source=f"abstract: convex components, bounds by the global condition number (source); {EXPLICIT}, by Monte Carlo",
    kind="invariance",
    statement=r"T(W,K)\ \text{the same on all graphs, whoever holds what};\qquad T\le\tfrac1\tau\ln\tfrac1\varepsilon",
    assumptions="Logistic regression with a ridge of 1e-3, 16 agents of 32 samples around centres of their own, d = 8, b = 64, "
    "p = 1/8, eps = 1e-8; six graphs and a random one, K: the least with a contraction of .05; 2 (full: 5) data sets, 4 runs "
    "each; and 32 runs with the samples sorted by label or in random order.",
    controls=[
        Control({"rounds": 1}, "one round for every variable: too few on slow graphs"),
        Control({"law": 0.1}, "a tenth of the steps that the guarantee allows"),
    ],
)
def logistic_regression_on_graphs(lab: Lab, rounds: int | None = None, law: float = 1.0) -> Finding:
    """On logistic regression decentralized Katyusha needs the same steps on every graph, and however the data are spread."""
    parts, rows = [], []
    for seed in range(lab.pick(quick=2, full=5)):
        here = replace(lab, seed=lab.seed + seed)
        found, limits = [], []
        for graph in (*GRAPHS, "erdos_renyi"):
            known = host(here, where := _logistic(graph)) | {"b": 64.0, "p": 0.125, "eps": _EPS}
            limits.append(law * float(Bound(_LAW)(known)))
            found.append(_first_steps(here, where, rounds or rounds_to(0.05, known["lambda_2"]), 220, 4))
        off = np.abs(np.log(np.array(found) / found[0]))
        parts.append(band(off, high=0.03, label=f"data {seed}: |ln T / T on the ring|", predicted=0.0))
        parts.append(band(np.array(found) / np.array(limits)[:, None], high=1.0, label=f"data {seed}: T / guarantee"))
        rows += [
            (f"data {seed}", g, float(t.min()), float(t.max())) for g, t in zip((*GRAPHS, "erdos_renyi"), found, strict=True)
        ]
    if rounds is None and law == 1.0:
        splits = [
            float(_first_steps(lab, _logistic("torus", split), 7, 220, lab.runs(32)).mean())
            for split in ("order", "iid", "label")
        ]
        parts.append(
            band(np.abs(np.log(np.divide(splits, splits[0]))), high=0.1, label="|ln T / T| over who holds what", predicted=0.0)
        )
        rows += [("32 runs, torus", split, t, t) for split, t in zip(("order", "iid", "label"), splits, strict=True)]
    table = Table("Steps until 1e-8", ("data", "graph or split", "least", "largest"), tuple(rows))
    return together(*parts, label="logistic regression", tables=(table,))


# ------------------------------------------------------------------------------------------------ side by side
_METHODS: dict[str, tuple[float, float, float]] = {  # exponents of kappa_g in component gradients, computation time, rounds
    "dec_lkatyusha": (0.5, 0.5, 0.5),
    "dec_lsvrg": (1.0, 1.0, 1.0),
    "extra": (1.0, 1.0, 1.0),
    "nids": (1.0, 1.0, 1.0),
}
_SPENT = ("component gradients", "computation time", "rounds")


@claim(
    PAPER,
    source="abstract: fewer component calls and less time (source); exponents derived, those of other methods recalled",
    kind="separation",
    statement=r"\text{exponents of }\kappa_g\text{ in LIFO, time, rounds: }\tfrac12\ \text{(Katyusha)},\ 1\ "
    r"\text{(L-SVRG, EXTRA, NIDS)}",
    assumptions="Lazy ring of 16, n = 32, d = 8, sorted, two-level, kappa = 100, 400 (quick: 50, 200), b = 64, "
    "p = 1/8, K = 21, eps = 1e-8; EXTRA and NIDS with steps of 1/L_loc. The cheapest in rounds is reported, not judged.",
    controls=[
        Control({"kappas": (1.5, 3.0)}, "well-conditioned: nothing is left to win by acceleration, and all exponents are small"),
        Control({"others": ("dec_lkatyusha",)}, "the method against itself is not cheaper"),
    ],
)
def methods_side_by_side(
    lab: Lab, kappas: Sequence[float] = (), others: Sequence[str] = ("dec_lsvrg", "extra", "nids")
) -> Finding:
    """Decentralized Katyusha needs the fewest component gradients and the least time, with half the exponent of the others."""
    parts, rows, last = [], [], {}
    kappas = kappas or lab.pick(quick=(50.0, 200.0), full=(100.0, 400.0))
    names = ("dec_lkatyusha", *others)
    for name in dict.fromkeys(names):
        find: Any = deterministic if name in ("extra", "nids") else stochastic
        found: list[Arrival] = [find(lab, network(kappa=kappa), name) for kappa in kappas]
        last[name] = found[-1]
        measured = []
        for at, (spent, predicted) in enumerate(zip(_SPENT, _METHODS[name], strict=True), start=1):
            values = [each[at] for each in found]
            limits: dict[str, Any] = {"low": predicted - 0.07, "high": predicted + 0.07, "predicted": predicted}
            label = f"{name}: exponent of kappa in {spent}"
            measured.append(slope(kappas, values, **limits, label=label, variable="kappa", quantity=spent))
        parts += measured
        exponents = [f"{each.measured:.3f} ({each.predicted:g})" for each in measured]
        rows.append((name, *found[-1], *exponents))
    for name in others:
        for field in ("calls", "time"):
            ratio = getattr(last["dec_lkatyusha"], field) / getattr(last[name], field)
            parts.append(band(ratio, high=0.5, label=f"{field}: Katyusha / {name}, largest kappa"))
    columns = ("method", "T", *_SPENT, *(f"exponent in {each}: measured (predicted)" for each in _SPENT))
    table = Table(f"Until 1e-8, kappa = {kappas[-1]:g}", columns, tuple(rows))
    return together(*parts, label="side by side", panels=tuple(each.panels[0] for each in parts[:3]), tables=(table,))

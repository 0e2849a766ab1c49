"""What the algorithms draw: estimates without bias, and runs against the expectations that the other claims rest on."""

from __future__ import annotations

from typing import Any

import numpy as np

from theorysim.analyses.band import band
from theorysim.backend import to_host
from theorysim.findings import Finding, together
from theorysim.lab import Lab
from theorysim.model import Cell, Control, Draw, Spec
from theorysim.paper_checks._decentralized_paper import PAPER, Floats, dec_katyusha, dec_svrg, katyusha, network, svrg
from theorysim.registry import algorithm, claim

_ERRORS = 4.0  # standard errors


def _estimates(lab: Lab, where: Spec, batch: int, importance: bool, own: bool, count: int) -> tuple[Floats, Floats, Floats]:
    """v_i at one X and one snapshot for ``count`` draws, (count, m, d), grad f_i(x_i), and grad f_i of the mean of the draws."""
    instance = lab.build(where, count)
    parts, asarray = instance.capabilities["finite_sum"], lab.backend.asarray
    m, n, d = parts.agents, parts.components, instance.shape[0]
    x = 1.5 + np.sin(1.0 + np.arange(m * d).reshape(m, d))
    snapshot = np.cos(2.0 + np.arange(m * d).reshape(m, d))
    counts = to_host(parts.draw_pool(Draw(1), batch, importance))
    weights = counts / (m * n * parts.chances(importance))
    repeated = [asarray(np.broadcast_to(at, (count, m, d)).copy()) for at in (x, snapshot)]
    here, there = (to_host(parts.weighted_gradient(at, asarray(weights))) for at in repeated)
    share = np.maximum(counts.sum(axis=2, keepdims=True), 1.0) if own else batch / m
    v = to_host(parts.local_gradient(repeated[1])) + (here - there) / share
    return v, to_host(parts.local_gradient(repeated[0]))[0], counts


@claim(
    PAPER,
    source="sampling of the public code of a sibling paper (source); formula and expectation derived",
    kind="identity",
    statement=r"v_i=\nabla f_i(w_i)+\frac mb\sum_j\frac{\xi_{ij}}{Nq_{ij}}\big(\nabla f_{ij}(x_i)-\nabla f_{ij}(w_i)\big),\qquad"
    r"\mathbb E\,v_i=\nabla f_i(x_i)",
    assumptions="16 agents, n = 32, d = 8, iid, log spectrum; batches of 4 and 40, uniform and by smoothness; 4000 draws.",
    controls=[Control({"own": True}, "divided by the agent's own batch in place of b/m: an empty batch contributes nothing")],
)
def estimates_are_unbiased(lab: Lab, own: bool = False) -> Finding:
    """One draw from the pool, known to all, gives every agent an unbiased gradient, though its own batch may be empty."""
    parts, where, count = [], network(placement="iid", spectrum="log"), lab.pick(quick=4000, full=20_000)
    for batch in (4, 40):
        for importance in (False, True):
            v, target, counts = _estimates(lab, where, batch, importance, own, count)
            error = v.std(axis=0, ddof=1) / np.sqrt(count)
            label = f"b={batch}, {'by smoothness' if importance else 'uniform'}"
            parts.append(band(np.abs(v.mean(axis=0) - target) / error, high=5.0, label=f"{label}: bias / standard error"))
            whole = np.abs(counts.sum(axis=(1, 2)) - batch).max()
            parts.append(band(whole, high=0.0, label=f"{label}: components drawn - b", predicted=0.0))
    return together(*parts, label="estimates")


# ------------------------------------------------------------------------------------------------ runs and expectations
def _pairs() -> list[tuple[str, Spec, Spec, str]]:
    """Name, instance, method, and the measure that is compared."""
    ring, log, easy = network(), *(network(spectrum="log", kappa=kappa, placement="iid") for kappa in (20.0, 2.5))
    wise: dict[str, Any] = {"importance": True, "smoothness_s": "L_s_importance"}
    step = "1/(L_g + 6*L_s_importance/8)"
    return [
        ("Katyusha, ring", ring, dec_katyusha(16), "square_distance"),
        ("L-SVRG, ring", ring, dec_svrg(16), "square_distance"),
        ("L-SVRG, exact averages", log, svrg(8), "mean_square_distance"),
        ("Katyusha, exact averages", easy, katyusha(64), "mean_square_distance"),
        ("Katyusha, by smoothness", log, dec_katyusha(6, 8, **wise), "square_distance"),
        ("L-SVRG, by smoothness", log, svrg(8, importance=True, lr=step), "mean_square_distance"),
        ("Katyusha, equal batches", ring, dec_katyusha(8, 32, estimator="local"), "square_distance"),
        ("Katyusha, plain gossip", ring, dec_katyusha(60, 32, mixing="plain"), "square_distance"),
        ("Katyusha, no tracking", ring, dec_katyusha(8, tracking=False), "square_distance"),
    ]


def _errors(lab: Lab, where: Spec, run: Spec, expected: Spec, measure: str) -> tuple[Floats, float]:
    """Mean of the runs minus the expectation, in standard errors, at every recorded step; and what is left of the expectation:
    a method that stands still would agree with itself."""
    steps = (0, 1, 3, 10, 25, 50)
    observed = "agents_distance" if measure == "square_distance" else "distance:2"
    traces = lab.run_all(
        [
            Cell(where, run, steps[-1], lab.runs(200), (observed,), steps),
            Cell(where, expected, steps[-1], 1, (measure,), steps, exact=True),
        ]
    )
    values = traces[0][observed] ** 2
    at, error = traces[1][measure][0], values.std(axis=0, ddof=1) / np.sqrt(len(values))
    off = np.abs(values.mean(axis=0) - at)
    return np.asarray(np.where(off <= 1e-9 * at, 0.0, off / np.maximum(error, 1e-300))), float(at[-1] / at[0])


@claim(
    PAPER,
    source="derived: the second moments of the reconstructed methods",
    kind="identity",
    statement=r"M^+=(1-p)A_0MA_0^\top+pA_1MA_1^\top+B\big[\Gamma\circ((1-p)D_0MD_0^\top+pD_1MD_1^\top)\big]B^\top",
    assumptions="Lazy ring of 16, n = 32, d = 8; 200 runs of each of nine methods, at most 4 standard errors at steps 1 to 50.",
    controls=[
        Control({"fewer": 2}, "runs with half the batch: more noise than expected"),
        Control({"rarer": True}, "runs whose snapshot is renewed in one step of a hundred"),
    ],
)
def runs_agree_with_expectations(lab: Lab, fewer: int = 1, rarer: bool = False) -> Finding:
    """Runs of the sampled algorithms agree with the exact second moments that the other claims judge."""
    parts = []
    for name, where, expected, measure in _pairs():
        given = expected.arguments
        equal = given.get("estimator") == "local"
        run = _spec(expected, batch=given["batch"] if equal else given["batch"] // fewer)
        run = _spec(run, chance=0.01) if rarer else run
        label = f"{name}: difference / standard error"
        errors, left = _errors(lab, where, run, expected, measure)
        parts.append(band(errors, high=_ERRORS, label=label))
        parts.append(band(left, high=0.9, label=f"{name}: error after 50 steps / at the start"))
    return together(*parts, label="runs and expectations")


def _spec(method: Spec, **change: Any) -> Spec:
    """The method with other parameters."""

    return algorithm(method.name, **{**method.arguments, **change})

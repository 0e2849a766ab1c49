"""Monte Carlo against the exact expectations: what is simulated and what is computed agree within four standard errors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import sqrt

import numpy as np

from theorysim.analyses.band import band
from theorysim.findings import Finding, Panel, Series, together
from theorysim.lab import Lab
from theorysim.model import Cell, Control, Spec
from theorysim.paper_checks._shb_paper import LR, PAPER, expectation, method, step_decay
from theorysim.registry import algorithm, claim, problem
from theorysim.trace import Trace

_RUNS = 20_000
_EIGENVALUES = (1.0, 0.1, 0.01)
_MULTIPLICATIVE = "least squares"


def _instances(batch: int) -> dict[str, Spec]:
    settings = {"dim": len(_EIGENVALUES), "spectrum": _EIGENVALUES, "start": "ones", "batch": batch}
    deviations = np.sqrt(_EIGENVALUES)
    return {
        "additive noise": problem("anisotropic_quadratic", noise=deviations, **settings),
        _MULTIPLICATIVE: problem("least_squares", data="gaussian", label_noise=1.0, **settings),
        "least squares without label noise": problem("least_squares", data="gaussian", label_noise=0.0, **settings),
    }


@claim(
    PAPER,
    source="Setting (recalled), Monte Carlo of the engine (derived)",
    kind="identity",
    statement=r"\Bigl|\tfrac1R\sum_r f(w_T^{(r)})-\mathbb E f(w_T)\Bigr|\le4\,\hat\sigma/\sqrt R",
    assumptions="lam = (1, .1, .01), kappa = 100, C = 2, e_0 = (1, 1, 1), sigma = 1, 20000 runs; additive Gaussian noise, "
    "and least squares with Gaussian inputs. Quick: T = 60, M = 4; full: T = 300, M = 16.",
    controls=[
        Control(
            {"computed": "additive noise"}, "Gaussian inputs add noise that grows with the error, which additive noise misses"
        ),
    ],
)
def simulation_agrees(lab: Lab, computed: str = "") -> Finding:
    """20000 runs of every method and kind of noise have the mean that is computed."""
    horizon, batch = lab.pick(quick=(60, 4), full=(300, 16))
    decay, instances = step_decay(horizon, 100.0), _instances(batch)
    shb, sgd = method("SHB", decay.schedule), method("SGD", decay.schedule)
    additive = instances["additive noise"]
    pairs: list[tuple[str, Spec, Spec]] = [(f"SHB, {name}", instance, shb) for name, instance in instances.items()]
    pairs += [
        ("SGD, additive noise", additive, sgd),
        ("SHB outside the buffer, additive noise", additive, method("SHB", decay.schedule, form="library")),
        ("average of SGD, additive noise", additive, algorithm("average", of=algorithm("sgd", lr=LR))),
    ]
    if computed:
        pairs = [pair for pair in pairs if _MULTIPLICATIVE in pair[0]][:1]
    steps = decay.steps
    cells = [Cell(instance, spec, steps, lab.runs(_RUNS), record=_record(steps)) for _, instance, spec in pairs]
    exact = [expectation(instances.get(computed, instance), spec, steps, record=_record(steps)) for _, instance, spec in pairs]
    traces = lab.run_all([*cells, *exact])
    runs, expected = traces[: len(pairs)], traces[len(pairs) :]
    parts = [_agrees(name, one, other) for (name, _, _), one, other in zip(pairs, runs, expected, strict=True)]
    return together(*parts, label="simulation and expectation", panels=tuple(part.panels[0] for part in parts[:2]))


def _record(steps: int) -> tuple[int, ...]:
    return tuple(sorted({steps // 8, steps // 4, steps // 2, steps}))


def _agrees(name: str, runs: Trace, expected: Trace) -> Finding:
    """Judged at the end, as the instance says; the other records are shown."""
    gap = runs["gap"]
    error = gap.std(axis=0, ddof=1) / sqrt(len(gap))
    mean, exact = gap.mean(axis=0), expected["gap"][0]
    score = (mean[1:] - exact[1:]) / error[1:]
    part = band(
        score[-1:], -4.0, 4.0, label=f"{name}: (mean - expectation) / standard error at T={runs.cell.steps}", predicted=0.0
    )
    panel = Panel(name, "T", "E f - f*", (_series("mean of the runs", runs, mean, error), _series("expectation", runs, exact)))
    return replace(part, panels=(panel,), details={"mean": float(mean[-1]), "expectation": float(exact[-1])})


def _series(label: str, trace: Trace, y: Sequence[float], error: Sequence[float] = ()) -> Series:
    x, values = tuple(map(float, trace.steps[1:])), np.asarray(y)[1:]
    if not len(error):
        return Series(label, x, tuple(values), "predicted")
    reach = 2 * np.asarray(error)[1:]
    return Series(label, x, tuple(values), "measured", tuple(values - reach), tuple(values + reach))

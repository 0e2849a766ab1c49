"""Where the numbers of all other claims come from: the recursion of second moments, step by step, and runs without noise."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from theorysim.analyses.band import band
from theorysim.findings import Finding, Table, together
from theorysim.lab import Lab
from theorysim.model import Cell, Control, Spec
from theorysim.paper_checks._shb_paper import (
    ANISOTROPIC,
    DIM,
    LR,
    NOISELESS,
    PAPER,
    SPECTRA,
    Floats,
    StepDecay,
    delta_of,
    expectation,
    last,
    method,
    quadratic,
    step_decay,
)
from theorysim.registry import algorithm, claim
from theorysim.schedules import eigencurve

_LIBRARY = "library"


class _Case(NamedTuple):
    """``form``: polyak, library, or sgd."""

    kappa: float
    decay: StepDecay
    form: str

    @property
    def spec(self) -> Spec:
        if self.form == "sgd":
            return method("SGD", self.decay.schedule)
        return method("SHB", self.decay.schedule, form=self.form)

    def cell(self, form: str) -> Cell:
        ends = tuple(self.decay.length * (stage + 1) for stage in range(self.decay.stages))
        instance = quadratic("log", self.kappa)
        return expectation(instance, self._replace(form=form).spec, ends[-1], "gap_bias", "gap_variance", record=ends)


def _second_moments(case: _Case) -> Floats:
    """Bias and variance at the end of every stage, ``(2, stages)``, by E = E e^2, X = E e v, V = E v^2, v_t = e_t - e_{t-1}."""
    lam = SPECTRA["log"](case.kappa, DIM)
    beta = 0.0 if case.form == "sgd" else (1 - delta_of(case.kappa)) ** 2
    start = np.stack([1 / lam, np.zeros(DIM)])  # of the bias, and of the variance
    e, x, v = start, np.zeros_like(start), np.zeros_like(start)
    found, divisor = [], case.decay.divisor
    for stage in range(case.decay.stages):
        eta = divisor**-stage
        q, kick = eta * lam, np.stack([np.zeros(DIM), eta**2 * lam])
        if case.form == _LIBRARY and stage > 0:
            x, v = x / divisor, v / divisor**2
        for _ in range(case.decay.length):
            e, x, v = (
                (1 - q) ** 2 * e + 2 * (1 - q) * beta * x + beta**2 * v + kick,
                -q * (1 - q) * e + beta * (1 - 2 * q) * x + beta**2 * v + kick,
                q**2 * e - 2 * q * beta * x + beta**2 * v + kick,
            )
        found.append((lam * e).sum(axis=1) / 2)
    return np.stack(found, axis=1)


@claim(
    PAPER,
    source="Setting (recalled) and recursion of the second moments (derived)",
    kind="identity",
    statement=r"E'=(1-q)^2E+2(1-q)\beta X+\beta^2V+\eta^2s,\quad X'=-q(1-q)E+\beta(1-2q)X+\beta^2V+\eta^2s,\quad "
    r"V'=q^2E-2q\beta X+\beta^2V+\eta^2s",
    assumptions="q = eta lam, s the noise variance of the direction; e_0j^2 = 1/lam_j, sigma = M = 1, d = 16, log spectrum; "
    "bias and variance at the end of every stage.",
    controls=[
        Control(
            {"form": "library"}, "with the step size outside the buffer the momentum is divided by C at every stage boundary"
        ),
        Control({"form": "sgd"}, "without momentum it is another method"),
    ],
)
def second_moments_step_by_step(lab: Lab, form: str = "") -> Finding:
    """The expectations of SHB, of its form with the step size outside the buffer, and of SGD are those of their recursions."""
    settings = [(1e2, 1000, 2.0), (1e3, 3000, 4.0), *lab.pick(quick=[], full=[(1e4, 20_000, 3.0), (1e3, 65_536, 2.0)])]
    kinds = ("polyak", _LIBRARY, "sgd")
    cases = [_Case(kappa, step_decay(t, kappa, c), kind) for kappa, t, c in settings for kind in kinds]
    wanted = [case for case in cases if case.form == "polyak"] if form else cases
    traces = lab.run_all(case.cell(form or case.form) for case in wanted)
    loops = lab.map(_second_moments, wanted)
    parts, rows = [], []
    for case, trace, loop in zip(wanted, traces, loops, strict=True):
        label = (
            f"{form or case.form}, kappa={case.kappa:g}, n={case.decay.stages}, K={case.decay.length}, C={case.decay.divisor:g}"
        )
        kept = loop[0] > 1e-250  # below it the loop's squares have lost their digits
        exact = np.concatenate([trace["gap_bias"][0][kept], trace["gap_variance"][0]])
        error = exact / np.concatenate([loop[0][kept], loop[1]]) - 1
        parts.append(band(error, -1e-9, 1e-9, label=f"{label}: expectation / recursion - 1", predicted=0.0))
        rows.append((label, last(trace, "gap_bias"), last(trace, "gap_variance")))
    return together(
        *parts, label="recursion", tables=(Table("E f - f* at the end", ("method", "bias", "variance"), tuple(rows)),)
    )


@claim(
    PAPER,
    source="Setting (recalled); schedules of the comparison (recalled)",
    kind="identity",
    statement=r"f(w_t)-f^*=\mathbb E f(w_t)-f^*\quad\text{where }n_t=0",
    assumptions="Log spectrum, kappa = 50, d = 5, axis-aligned and rotated; every method and schedule of the other claims, "
    "each of 60 steps.",
    controls=[Control({"noise": ANISOTROPIC}, "one run with noise is not its expectation")],
)
def trajectories_without_noise(lab: Lab, noise: str = NOISELESS) -> Finding:
    """Without noise a run is its own expectation, step by step: what is run and what is computed are the same methods."""
    steps, kappa, dim = 60, 50.0, 5
    parts = []
    for turned in (False, True):
        instance = quadratic("log", kappa, dim, noise=noise, turned=turned)
        for name, spec in _everything(steps, kappa, dim, few=turned).items():
            cell = Cell(instance, spec, steps, record="all")
            run, exact = lab.run_all([cell, expectation(instance, spec, steps, record="all")])
            label = f"{name}{', rotated' if turned else ''}"
            parts.append(band(run["gap"] / exact["gap"] - 1, -1e-9, 1e-9, label=f"{label}: run / expectation - 1", predicted=0.0))
            left = last(run) / float(run["gap"][0, 0])
            parts.append(
                band(left, high=0.9, label=f"{label}: share of the start's gap that is left (1 would be standing still)")
            )
    return together(*parts, label="runs without noise")


def _everything(steps: int, kappa: float, dim: int, few: bool) -> dict[str, Spec]:
    decay = step_decay(steps, kappa)
    schedules = {
        "step decay": decay.schedule,
        "step decay to the end": f"{decay.schedule},{decay.stages}",
        "eigencurve": eigencurve(steps, SPECTRA["log"](kappa, dim)),
        "cosine": f"cosine_decay:{steps}",
        "linear": f"linear:{steps}",
        "inverse time": f"inverse_time:{1 / kappa!r}",
        "inverse root": "inverse_sqrt",
    }
    used = list(schedules.items())[: 1 if few else None]
    found = {f"{name}, {word}": method(name, text) for name in ("SHB", "SGD") for word, text in used}
    found |= {"SHB, constant": method("SHB"), "SHB, outside the buffer": method("SHB", decay.schedule, form=_LIBRARY)}
    return found | {"average of SGD": algorithm("average", of=algorithm("sgd", lr=LR))}

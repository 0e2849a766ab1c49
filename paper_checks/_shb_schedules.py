"""Step decay among other schedules (C6): a logarithm behind the best, a factor kappa before polynomial decay, and averaging."""

from __future__ import annotations

from typing import Any

import numpy as np

from theorysim.analyses.band import band
from theorysim.analyses.slope import slope
from theorysim.bounds import Bound
from theorysim.findings import Finding, Table, together
from theorysim.lab import Lab
from theorysim.model import Control
from theorysim.paper_checks._shb_paper import (
    LR,
    PAPER,
    SPECTRA,
    Floats,
    expectation,
    last,
    method,
    number_of_stages,
    of_eigenvalues,
    quadratic,
)
from theorysim.registry import algorithm, claim
from theorysim.schedules import eigencurve

_DIM = 32
_ROUNDING = 1e-9
_STEP = "step decay"
_AVERAGE = "constant, average"
_CONSTANT = "(C - 1)**2/(4*C*log(C))*n"
_LINE = "d*sigma**2*(T - 1)/(2*M*T**2)"
Setting = tuple[str, float, int]  # law of the spectrum, kappa, T


def _schedules(setting: Setting, divisor: float = 2.0) -> dict[str, str]:
    """All of T steps; step decay extends its last stage to the end."""
    law, kappa, horizon = setting
    stages = number_of_stages(horizon, kappa, divisor)
    return {
        "eigencurve": eigencurve(horizon, SPECTRA[law](kappa, _DIM)),
        _STEP: f"step_decay:{divisor!r},{horizon // stages},{stages}",
        "cosine": f"cosine_decay:{horizon}",
        "linear": f"linear:{horizon}",
        "inverse time": f"inverse_time:{1 / kappa!r}",
        "inverse root": "inverse_sqrt",
        "constant": "constant",
    }


def _excess(lab: Lab, setting: Setting, name: str, words: tuple[str, ...], divisor: float = 2.0) -> dict[str, float]:
    """The variance in units of d sigma^2/(2T), by schedule."""
    law, kappa, horizon = setting
    texts, instance = _schedules(setting, divisor), quadratic(law, kappa, _DIM)
    average = algorithm("average", of=algorithm("sgd", lr=LR))
    specs = [average if word == _AVERAGE else method(name, texts[word]) for word in words]
    traces = lab.run_all(expectation(instance, spec, horizon, "gap_variance") for spec in specs)
    return {word: last(trace, "gap_variance") * 2 * horizon / _DIM for word, trace in zip(words, traces, strict=True)}


def _ranked(label: str, found: dict[str, float], order: tuple[str, ...]) -> Finding:
    """Every schedule of ``order`` is better than the next one."""
    values = np.array([found[word] for word in order])
    with np.errstate(invalid="ignore"):
        ratios = values[1:] / values[:-1]
    return band(ratios, low=1.0, label=f"{label}: {' < '.join(order)}, smallest ratio of neighbours")


@claim(
    PAPER,
    source="C6 (source: abstracts of Ge and others 2019 and Pan, Ye, Zhang 2021; schedules recalled)",
    kind="separation",
    statement=r"\text{variance of SGD: eigencurve}<\text{step decay}<\text{cosine}<\text{linear};\quad\text{inverse"
    r" time}\sim\kappa",
    assumptions="d = 32, sigma = 1, C = 2, log spectrum, kappa = 1e2 at T = 2^14, 1e3 at 2^16, and power spectrum, 1e3 at "
    "2^16 (quick: log, 1e1 at 2^9, 1e2 at 2^11). Over a decade of kappa inverse time grows at least fourfold, step decay per "
    "stage by at most a tenth.",
    controls=[
        Control({"name": "SHB"}, "eigencurve is made for SGD: with momentum it loses to step decay"),
        Control({"polynomial": _STEP}, "step decay does not grow with kappa"),
    ],
)
def schedules_compared(lab: Lab, name: str = "SGD", polynomial: str = "inverse time") -> Finding:
    """Step decay loses a logarithm to the best schedule and wins over every smooth one; with momentum it is the best."""
    settings: tuple[Setting, ...] = lab.pick(
        quick=(("log", 1e1, 2**9), ("log", 1e2, 2**11)), full=(("log", 1e2, 2**14), ("log", 1e3, 2**16), ("power", 1e3, 2**16))
    )
    order, parts, rows = ("eigencurve", _STEP, "cosine", "linear"), [], []
    others = ("inverse time", "inverse root", "constant", _AVERAGE) if name == "SGD" else ("inverse time",)
    words, grown = (*order, *others), []
    for setting in settings:
        label = f"{setting[0]} spectrum, kappa={setting[1]:g}, T={setting[2]}"
        plain = _excess(lab, setting, name, words)
        heavy = _excess(lab, setting, "SHB", (_STEP, "eigencurve", "cosine"))
        parts.append(_ranked(f"SGD, {label}", plain, order))
        if setting[0] == "log":
            grown.append(plain)
            if setting[1] >= 100:
                parts.append(_ranked(f"SHB, {label}", heavy, (_STEP, "eigencurve", "cosine")))
        rows += [(label, word, plain[word], heavy.get(word, "")) for word in words]
    fewer, more = (number_of_stages(horizon, kappa, 2.0) for _, kappa, horizon in settings[:2])
    pays, free = grown[1][polynomial] / grown[0][polynomial], grown[1][_STEP] / grown[0][_STEP] * fewer / more
    parts.append(band(pays, low=4.0, label=f"growth of {polynomial} over a decade of kappa", predicted=10.0))
    parts.append(band(free, 0.9, 1.1, label="growth of step decay per stage over a decade of kappa", predicted=1.0))
    table = Table("Variance in units of d sigma^2/(2T)", ("instance", "schedule", "SGD", "SHB"), tuple(rows))
    return together(*parts, label="schedules", tables=(table,))


@claim(
    PAPER,
    source="C6 with the constant of C2b (derived; source for a real gap of log T: abstract of Pan, Ye, Zhang 2021)",
    kind="band",
    statement=r"\text{variance}\cdot\frac{2MT}{d\sigma^2}\to n\,\frac{(C-1)^2}{4C\ln C}\quad(\le n/4\text{ at }C=2)",
    bound=_CONSTANT,
    assumptions="d = 32, sigma = M = 1, SGD, log spectrum, kappa = 1e2 at T = 2^14 and 1e3 at T = 2^16, last stage extended "
    "to T; C = 2, 4, 8, within 10 per cent of the constant.",
    controls=[Control({"quarter": 8.0}, "at C = 8 the step size falls too fast: .74 n")],
)
def step_decay_is_a_logarithm_off(lab: Lab, quarter: float = 2.0) -> Finding:
    """Step decay is n times a constant above the line of averaging: at C = 2 less than n/4."""
    parts, rows = [], []
    for setting in (("log", 1e2, 2**14), ("log", 1e3, 2**16)):
        for divisor in (2.0, 4.0, 8.0):
            stages = number_of_stages(setting[2], setting[1], divisor)
            found = _excess(lab, setting, "SGD", (_STEP,), divisor)[_STEP]
            predicted = float(Bound(_CONSTANT)({"C": divisor, "n": float(stages)}))
            label = f"kappa={setting[1]:g}, T={setting[2]}, C={divisor:g}"
            parts.append(band(found / predicted, 0.9, 1.1, label=f"{label}: variance / (n constant)", predicted=1.0))
            if divisor == quarter:
                parts.append(band(found / stages, 0.0, 0.25, label=f"{label}: variance 2T/(d sigma^2) / n"))
            rows.append((label, stages, found, found / stages))
    table = Table("Step decay in units of d sigma^2/(2T)", ("instance", "n", "variance", "per stage"), tuple(rows))
    return together(*parts, label="a logarithm off", tables=(table,))


@claim(
    PAPER,
    source="C6, averaging (derived, exact); reference line of known curvature (derived)",
    kind="identity",
    statement=r"\text{variance}=\sum_j\frac{s_j}{2\lambda_jT^2}\sum_{k=1}^{T-1}(1-(1-q_j)^k)^2\le\frac{d\sigma^2}{2MT},\quad"
    r"\text{bias}=\sum_j\tfrac12\lambda_je_{0j}^2\Bigl(\frac{1-(1-q_j)^T}{q_jT}\Bigr)^2\sim T^{-2}",
    bound=_LINE,
    assumptions="SGD with eta = 1/L, mean of w_0..w_{T-1}, d = 32, sigma = 1, M = 1; T = 2^12, 2^14, 2^16. On H = I a step "
    "of SGD is one of Newton's: the mean of T of them, of which the first is the start, has variance d sigma^2 "
    "(T-1)/(2MT^2).",
    controls=[Control({"lr": "0.5/lambda_max"}, "half the step size has another bias and another variance")],
)
def polyak_average(lab: Lab, lr: str = LR) -> Finding:
    """A constant step with averaging has the variance of known curvature, without a logarithm, but a polynomial bias."""
    steps, errors, shares, rows, falls = (2**12, 2**14, 2**16), [], [], [], []
    spec = algorithm("average", of=algorithm("sgd", lr=lr))
    for law, kappa in (("log", 1e2), ("log", 1e3), ("power", 1e3)):
        trace = lab.run(expectation(quadratic(law, kappa, _DIM), spec, steps[-1], "gap_bias", "gap_variance", record=steps))
        kept = [int(np.flatnonzero(trace.steps == t)[0]) for t in steps]
        bias, variance = trace["gap_bias"][0][kept], trace["gap_variance"][0][kept]
        predicted = np.array([_average_moments(SPECTRA[law](kappa, _DIM), t) for t in steps])
        errors += [*(bias / predicted[:, 0] - 1), *(variance / predicted[:, 1] - 1)]
        line = variance * 2 * np.array(steps) / _DIM
        shares += list(line)
        rows += [(law, kappa, t, one, other) for t, one, other in zip(steps, line, bias, strict=True)]
        limits: dict[str, Any] = {"low": -2.05, "high": -1.95, "predicted": -2.0, "quantity": "bias"}
        falls.append(slope(steps, bias, label=f"{law} spectrum, kappa={kappa:g}: exponent of the bias", **limits))
    same = band(errors, -_ROUNDING, _ROUNDING, label="bias and variance / formulas - 1", predicted=0.0)
    below = band(shares, 0.8, 1.0 + _ROUNDING, label="variance 2MT/(d sigma^2)", predicted=1.0)
    table = Table("Average of SGD", ("spectrum", "kappa", "T", "variance 2MT/(d sigma^2)", "bias"), tuple(rows))
    return together(same, below, _known_curvature(lab), *falls, label="averaging", tables=(table,), panels=falls[0].panels)


def _known_curvature(lab: Lab) -> Finding:
    """On H = I, where 1/L is the inverse Hessian."""
    ends, errors = (2, 3, 10, 1000), []
    for batch in (1, 5):
        instance = of_eigenvalues(np.ones(7), batch=batch)
        trace = lab.run(
            expectation(instance, algorithm("average", of=algorithm("sgd", lr=LR)), ends[-1], "gap_variance", record=ends)
        )
        known = {"d": 7.0, "sigma": 1.0, "M": float(batch), "T": np.array(ends, dtype=float)}
        errors.append(trace["gap_variance"][0, -len(ends) :] / Bound(_LINE)(known) - 1)
    return band(np.array(errors), -_ROUNDING, _ROUNDING, label="H = I: variance / (d sigma^2 (T-1)/(2MT^2)) - 1", predicted=0.0)


def _average_moments(eigenvalues: Floats, steps: int) -> tuple[float, float]:
    """Bias and variance of the average, eta = 1/L = 1, e_0j^2 = 1/lam_j."""
    left = 1 - eigenvalues
    bias = (((1 - left**steps) / (eigenvalues * steps)) ** 2).sum() / 2
    powers = left[:, None] ** np.arange(1, steps)
    return float(bias), float(((1 - powers) ** 2).sum() / (2 * steps**2))

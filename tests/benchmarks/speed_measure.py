"""Competitors in alternating rounds: so a busy moment of the machine, or a warm one, meets all of them alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import speed_numpy
from numpy.typing import NDArray
from speed_experiments import Experiment, Size, gaps

OURS, NUMPY, JAX64, JAX32 = "theorysim", "NumPy", "JAX float64", "JAX float32"
_LONG = 30_000_000  # updates: beyond these NumPy, whose steps all cost the same, takes a tenth of the steps


@dataclass(frozen=True)
class Competitor:
    """``work`` runs ``experiment`` and returns the gap of every run once it is there."""

    name: str
    experiment: Experiment
    work: Callable[[], NDArray[Any]]


@dataclass(frozen=True)
class Row:
    """``speed``: coordinate updates per second, median of the rounds. ``ratio``: the time of this one over that of theorysim
    within one round, median and extremes. ``first``: seconds that the first call took longer, most of it compilation."""

    size: str
    steps: int
    sigma: float
    method: str
    name: str
    speed: float
    ratio: float
    low: float
    high: float
    first: float


def competitors(experiment: Experiment, device: str = "cpu") -> list[Competitor]:
    import speed_jax  # on demand: others need the clock only

    short = experiment.shortened(10) if experiment.updates > _LONG else experiment
    return [
        Competitor(OURS, experiment, lambda: gaps(experiment, device)),
        Competitor(NUMPY, short, lambda: speed_numpy.gaps(short)),
        Competitor(JAX64, experiment, speed_jax.prepared(experiment)),
        Competitor(JAX32, experiment, speed_jax.prepared(experiment, "float32")),
    ]


def measured(size: Size, method: str, sigma: float, device: str = "cpu") -> list[Row]:
    """One row for each competitor, who first have to agree on the result."""
    experiment = size.experiment(method, sigma)
    everyone = competitors(experiment, device)
    first, results = zip(*(timed(each.work) for each in everyone), strict=True)
    for each, result in zip(everyone[1:], results[1:], strict=True):
        if each.experiment == experiment:
            require_agreement(experiment, results[0], result, each.name)
    rounds = [[seconds(each.work) for each in everyone] for _ in range(size.rounds)]
    per_update = np.array(rounds) / [each.experiment.updates for each in everyone]
    ratios = per_update / per_update[:, :1]
    return [
        Row(
            size.name,
            experiment.steps,
            sigma,
            method,
            each.name,
            1 / float(np.median(per_update[:, i])),
            *(float(f(ratios[:, i])) for f in (np.median, np.min, np.max)),
            max(0.0, first[i] - statistics.median(times[i] for times in rounds)),
        )
        for i, each in enumerate(everyone)
    ]


def require_agreement(experiment: Experiment, ours: NDArray[Any], theirs: NDArray[Any], name: str) -> None:
    """Without noise: the same gaps, to the rounding of the type. With it: the same mean, within six standard errors."""
    rounding = 1e-2 if name == JAX32 else 1e-9
    if not experiment.sigma:
        np.testing.assert_allclose(theirs, ours, rtol=rounding, atol=1e-4 * rounding * experiment.initial_gap, err_msg=name)
    elif experiment.runs > 1:
        error = 6 * np.sqrt((ours.var(ddof=1) + theirs.var(ddof=1)) / experiment.runs)
        np.testing.assert_allclose(theirs.mean(), ours.mean(), rtol=rounding, atol=error, err_msg=name)


def timed(work: Callable[[], NDArray[Any]]) -> tuple[float, NDArray[Any]]:
    begin = time.perf_counter()
    result = work()
    return time.perf_counter() - begin, result


def seconds(work: Callable[[], Any]) -> float:
    return timed(work)[0]

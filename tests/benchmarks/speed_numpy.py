"""The experiment in NumPy, as one writes it: all runs in one array, a loop over the steps, noise from default_rng."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray
from speed_experiments import SETTINGS, Experiment

Values = NDArray[np.float64]
Slope = Callable[[Values], Values]


def adagrad(x: Values, gradient: Slope, lr: float) -> Iterator[Values]:
    v = np.zeros_like(x)
    while True:
        g = gradient(x)
        v += g * g
        x = x - lr * g / np.sqrt(v)
        yield x


def heavy_ball(x: Values, gradient: Slope, lr: float, momentum: float) -> Iterator[Values]:
    m = np.zeros_like(x)
    while True:
        m = momentum * m + lr * gradient(x)
        x = x - m
        yield x


def adam(x: Values, gradient: Slope, lr: float, beta1: float, beta2: float, eps: float) -> Iterator[Values]:
    m, v = np.zeros_like(x), np.zeros_like(x)
    for t in itertools.count(1):
        g = gradient(x)
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g * g
        x = x - lr * (m / (1 - beta1**t)) / (np.sqrt(v / (1 - beta2**t)) + eps)
        yield x


def sgd(x: Values, gradient: Slope, lr: float) -> Iterator[Values]:
    while True:
        x = x - lr * gradient(x)
        yield x


def nesterov(x: Values, gradient: Slope, lr: float, momentum: float) -> Iterator[Values]:
    previous = x
    while True:
        y = x + momentum * (x - previous)
        previous, x = x, y - lr * gradient(y)
        yield x


LOOPS = {"adagrad": adagrad, "heavy_ball": heavy_ball, "adam": adam, "sgd": sgd, "nesterov": nesterov}


def path(experiment: Experiment, seed: int = 0) -> Iterator[Values]:
    """The iterates after 1, 2, ..., steps, ``(runs, dim)`` each."""
    h, sigma, rng = experiment.curvature, experiment.sigma, np.random.default_rng(seed)

    def gradient(x: Values) -> Values:
        return h * x + sigma * rng.standard_normal(x.shape) if sigma else h * x

    start = np.ones((experiment.runs, experiment.dim))
    loop = LOOPS[experiment.method](start, gradient, **SETTINGS[experiment.method])  # type: ignore[operator]
    return itertools.islice(loop, experiment.steps)


def gaps(experiment: Experiment, seed: int = 0) -> Values:
    """The gap of every run after the last step, ``(runs,)``."""
    x = deque(path(experiment, seed), maxlen=1).pop()
    return 0.5 * np.sum(experiment.curvature * x * x, axis=1)

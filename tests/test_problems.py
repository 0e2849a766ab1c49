"""Contract of every registered problem: what an algorithm, the loop and a report may rely on.

A new file in problems/ is tested with its defaults (and a small ``dim`` if it has one); SETTINGS adds harder instances.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from theorysim.analyses.certificate import certificate
from theorysim.backend import CPU, Backend, to_host
from theorysim.build import build_problem
from theorysim.findings import Verdict
from theorysim.model import Draw, Problem, TheorysimError
from theorysim.noise import Draws
from theorysim.registry import PROBLEMS, parameters, problem

RUNS = np.array([0, 1, 2, 3, 40, 5, 6, 7, 8, 9, 1000])

SETTINGS: dict[str, list[dict[str, Any]]] = {
    "anisotropic_quadratic": [
        {"dim": 7, "noise": 0.5, "noise_law": "spectrum"},
        {"dim": 6, "spectrum": "head_bulk", "head": 2, "start": "lognormal", "rotation": "pairs", "noise": 0.3, "batch": 3},
        {
            "dim": 9,
            "spectrum": "log",
            "start": "uniform",
            "origin": "start",
            "rotation": "random",
            "noise": 2,
            "noise_law": "power",
        },
        {"dim": 8, "spectrum": "linear", "start": "power", "normalize": "2", "distance": 5.0, "rotation": "hadamard"},
        {"dim": 3, "spectrum": [2.0, 0.0, 0.5], "start": [1.0, -2.0, 3.0], "noise": [0.1, 0.0, 0.4], "batch": 5},
    ],
    "separable_nonconvex": [
        {"dim": 7},
        {"dim": 11, "spectrum": "two_value", "head": 2, "zero_every": 3, "noise": 0.4, "batch": 2},
        {"dim": 1, "start": [0.01], "noise": 1.0, "noise_law": "flat"},
    ],
    "cosh_sum": [
        {"dim": 5},
        {"dim": 6, "a_min": 0.2, "a_max": 4.0, "start": "uniform", "distance": 2.0},
    ],
    "huber": [
        {"dim": 1},
        {"dim": 4, "threshold": 0.5, "spectrum": "log", "start": "signs", "distance": 3.0},
        {"dim": 2, "threshold": 2.5, "spectrum": [1.0, 0.3], "start": [4.0, -3.0]},
    ],
    "matrix_quadratic": [
        {"m": 3, "n": 5, "noise": 0.5, "noise_law": "spectrum", "rotation": "random", "start": "signs"},
        {
            "m": 5,
            "n": 2,
            "spectrum": "log",
            "start": "aligned",
            "profile": [0.9, 0.4],
            "turned": "both",
            "noise": 0.3,
            "batch": 3,
        },
        {"m": 2, "n": 6, "right": "groups", "start": "groups", "rotation": "random", "normalize": "op", "distance": 2.0},
        {"m": 4, "n": 3, "right": [1.0, 0.0, 2.0], "turned": "right", "start": "profile", "profile_decay": 1.0},
        {"m": 2, "n": 2, "spectrum": [2.0, 0.5], "start": "identity", "turned": "left", "noise": [0.1, 0.0]},
    ],
    "rotated_group_norm": [
        {"m": 9, "n": 4},
        {"m": 4, "n": 3, "spectrum": [1.0, 0.5, 0.0, 2.0], "noise": 0.3, "batch": 4, "start": "signs"},
        {"m": 2, "n": 5, "spectrum": "power", "rotation": None, "noise": 1.0, "normalize": "op", "distance": 3.0},
        {"m": 3, "spectrum": "log", "start": "identity"},
    ],
    "spectral_norm_distance": [
        {"m": 4, "n": 6},
        {"m": 7, "n": 3, "noise": 0.3, "batch": 2, "start": "gaussian", "normalize": "2"},
        {"m": 2, "n": 2, "start": [[1.0, 0.2], [0.0, 0.9]]},
    ],
    "matrix_nonconvex": [
        {"m": 5, "n": 3, "rotation": "random", "noise": 0.4, "noise_law": "spectrum", "batch": 2},
        {"m": 3, "n": 7, "spectrum": "log", "start": "profile", "distance": 5.0},
        {"m": 2, "n": 2, "spectrum": [2.0, 0.0], "noise": [0.0, 0.5], "rotation": "pairs"},
    ],
    "block_diagonal_hessian": [
        {"m": 4, "n": 6, "rotation": "random"},
        {"m": 5, "n": 2, "low": 0.5, "spectrum": "log", "start": "profile", "normalize": "op"},
        {"m": 4, "n": 2, "blocks": "generic", "smoothness": "sum", "rotation": "hadamard"},
        {"m": 4, "n": 3, "blocks": "generic", "smoothness": "sdp", "start": "signs", "distance": 2.0},
        {"m": 3, "n": 7, "blocks": "ramp", "start": "signs"},
        {"m": 2, "n": 3, "blocks": [[[2.0, 1.0], [1.0, 2.0]], [[1.0, -0.5], [-0.5, 1.0]], [[0.0, 0.0], [0.0, 0.0]]]},
        {"m": 2, "n": 2, "blocks": [[[2.0, 1.0], [1.0, 2.0]], [[1.0, 0.0], [0.0, 0.0]]], "smoothness": "sdp"},
    ],
    "rank_one_hessian": [
        {"m": 4, "n": 7},
        {"m": 6, "n": 3, "direction": "values", "values_decay": 0.3, "start": "signs"},
        {"m": 5, "n": 4, "direction": "values", "values": [2.0, 1.0, 0.0, 0.0], "start": "profile", "distance": 0.1},
        {"m": 2, "n": 3, "direction": [[1.0, 0.0, -2.0], [0.5, 0.0, 0.0]], "start": [[1.0, 1.0, 1.0], [0.0, 3.0, -1.0]]},
    ],
    "logistic_regression": [
        {"samples": 150, "ridge": 0.01},
        {"data": "breast_cancer", "samples": 101, "ridge": 1e-3, "batch": 3, "start": "signs", "distance": 2.0},
        {"data": "digits", "samples": 120, "positive": 3, "ridge": 0.05, "batch": 2, "intercept": True},
    ],
    "frobenius_norm_distance": [
        {"m": 2, "n": 3, "kept": 0.5, "start": "signs", "distance": 2.0},
        {"m": 1, "n": 3, "start": [[0.5, -2.0, 1.0]]},
    ],
    "adversarial_gradients": [
        {"law": "extremal", "length": 6},
        {"m": 3, "n": 2, "law": "extremal", "length": 7, "eta": 2.0, "distance": 1.5},
        {"m": 3, "n": 5, "law": "random", "start": "gaussian", "spread": 2.0},
        {"m": 4, "n": 2, "law": "outward", "start": "profile", "normalize": "op", "length": 3, "eta": 0.5},
    ],
    "digits_regression": [
        {"samples": 90, "pool": 2, "ridge": 0.02},
        {"loss": "squared", "samples": 101, "ridge": 1e-3, "start": "signs", "distance": 2.0},
        {"samples": 120, "pool": 2, "ridge": 0.1, "batch": 3, "start": "gaussian"},
        {"loss": "squared", "samples": 80, "pool": 4, "ridge": 0.0, "batch": 2},
    ],
    "two_layer_network": [
        {"hidden": 3, "samples": 30, "pool": 4},
        {"hidden": 2, "samples": 40, "pool": 2, "activation": "softplus", "ridge": 0.1, "batch": 5, "scale": 2.0},
        {"hidden": 4, "samples": 25, "pool": 4, "loss": "squared", "batch": 1},
    ],
    "least_squares": [
        {"dim": 5, "batch": 1},
        {"dim": 6, "spectrum": "power", "rotation": "random", "label_noise": 0.3, "batch": 7, "start": "uniform"},
        {"data": "decoupled", "dim": 3, "label_noise": 0.5, "batch": 3},
        {"data": "decoupled", "dim": 4, "kurtosis": 1.5, "rotation": "hadamard", "batch": 6, "start": "signs"},
        {"data": "equicorrelated", "dim": 4, "correlation": -0.2, "scale": 2.0, "batch": 2},
        {"data": "normalized", "dim": 4, "samples": 13, "rotation": "random", "batch": 3, "start": "lognormal"},
        {"data": "diabetes", "labels": "real", "start": "zeros", "batch": 4},
        {"data": "diabetes", "samples": 50, "label_noise": 1.0, "batch": 2, "start": "signs", "distance": 0.5},
    ],
    "decentralized_quadratic": [
        {"m": 4, "n": 6, "dim": 3},
        {"m": 8, "n": 6, "dim": 4, "placement": "sorted", "pool": "random", "rotation": "random", "batch": 5, "graph": "star"},
        {"m": 6, "n": 5, "dim": 2, "spectrum": [0.5, 2.0], "placement": "sorted", "start": "uniform", "link_loss": 0.2},
        {"m": 1, "n": 12, "dim": 4, "spectrum": "log", "start": "signs", "distance": 0.1, "batch": 2},
    ],
    "decentralized_regression": [
        {"m": 5, "samples": 43, "dim": 3, "batch": 6, "graph": "complete"},
        {"data": "breast_cancer", "m": 7, "split": "label", "ridge": 0.01},
        {"data": "breast_cancer", "loss": "squared", "samples": 101, "m": 9, "intercept": True, "batch": 4, "graph": "torus"},
        {"data": "digits", "loss": "squared", "samples": 150, "m": 6, "split": "iid", "start": "signs", "positive": 3},
    ],
    "decentralized_nonconvex": [
        {"m": 4, "dim": 3, "zeta": 2.0, "sigma": 0.7, "L": 3.0, "graph": "hypercube", "lazy": False},
        {"m": 3, "dim": 5, "quadratic": True, "sigma": 2.0, "start": "signs", "changing": ["star"]},
        {"m": 1, "dim": 1},
    ],
    "strong_growth": [
        {"dim": 4, "rho": 1.0, "start": "uniform"},
        {"rho": 3.0},
        {"dim": 3, "a_min": 1.0, "rho": 1.5, "start": "power", "distance": 0.01},
    ],
    "kernel_machine": [
        {"samples": 30, "width": 1.5, "batch": 1, "start": "signs", "distance": 2.0},
        {"samples": 25, "batch": 3, "target": 3},
        {"samples": 12, "width": 0.5, "batch": 2, "start": "lognormal", "normalize": "2"},
    ],
}


def _default(name: str) -> dict[str, Any]:
    return {"dim": 6} if "dim" in parameters(PROBLEMS, name) else {}


CASES = [(name, setting) for name in PROBLEMS.names() for setting in SETTINGS.get(name, [_default(name)])]
every_case = pytest.mark.parametrize(("name", "setting"), CASES, ids=[f"{name}-{i}" for i, (name, _) in enumerate(CASES)])

DRAWN = ("signs", "uniform", "lognormal", "power", "gaussian", "profile", "aligned", "groups")  # starts that a seed decides

FAULTS: dict[str, list[dict[str, Any]]] = {
    "anisotropic_quadratic": [
        {"spectrum": "powr"},
        {"spectrum": [1.0, 2.0], "dim": 3},
        {"spectrum": [1.0, -2.0], "dim": 2},
        {"spectrum": "head_bulk", "head": 100},
        {"spectrum": "log", "kappa": 0.0},
        {"scale": 0.0},
        {"start": "one"},
        {"start": [1.0], "dim": 2},
        {"start": "uniform", "low": -1.0},
        {"start": "sparse", "support": 0},
        {"distance": 0.0},
        {"normalize": "1"},
        {"origin": "zero"},
        {"rotation": "hadamard", "dim": 12},
        {"rotation": "pairs", "dim": 5},
        {"rotation": "reflection"},
        {"noise": -1.0},
        {"noise": [1.0], "dim": 2},
        {"noise": 1.0, "noise_law": "gaussian"},
        {"batch": 0},
    ],
    "separable_nonconvex": [
        {"spectrum": "flat"},
        {"high": 0.0},
        {"zero_every": 0},
        {"zero_every": -2},
        {"noise": "loud"},
        {"batch": 1.5},
    ],
    "cosh_sum": [{"a_min": 0.0}, {"a_min": 2.0, "a_max": 1.0}, {"a_max": -1.0}, {"distance": -3.0}, {"start": "far"}],
    "huber": [{"threshold": 0.0}, {"threshold": -1.0}, {"spectrum": [1.0, -2.0], "dim": 2}, {"start": "far"}, {"scale": 0.0}],
    "matrix_quadratic": [
        {"m": 0},
        {"n": 2.5},
        {"spectrum": "powr"},
        {"right": "left"},
        {"right": "groups", "m": 3, "n": 7},
        {"right": [1.0], "n": 2},
        {"turned": "up"},
        {"start": "sparse"},
        {"start": [[1.0]], "m": 1, "n": 2},
        {"start": "profile", "profile": [1.0], "m": 2, "n": 2},
        {"normalize": "nuclear"},
        {"distance": -1.0},
        {"noise": -1.0},
        {"batch": 0},
    ],
    "rotated_group_norm": [
        {"m": 0},
        {"m": 9, "n": 1.5},
        {"spectrum": "flat"},
        {"spectrum": [1.0], "m": 2},
        {"rotation": "left"},
        {"start": "aligned"},
        {"noise": [0.1]},
        {"noise": -0.1},
        {"batch": 0},
    ],
    "spectral_norm_distance": [
        {"m": 2.5},
        {"n": 0},
        {"start": "sparse"},
        {"profile": [1.0], "m": 2, "n": 2},
        {"normalize": "1"},
        {"noise": "loud"},
        {"batch": -1},
    ],
    "matrix_nonconvex": [
        {"m": 0},
        {"spectrum": "powr"},
        {"rotation": "pairs", "m": 3},
        {"distance": 0.0},
        {"noise": 1.0, "noise_law": "gaussian"},
        {"batch": 1.5},
    ],
    "block_diagonal_hessian": [
        {"n": 0},
        {"blocks": "diagonal"},
        {"blocks": [[[1.0]]], "m": 1, "n": 2},
        {"blocks": [[[1.0, 0.0]]], "m": 2, "n": 1},
        {"blocks": [[[1.0, 0.0]], [[0.0, 1.0], [1.0, 0.0], [0.0, 1.0]]], "m": 2, "n": 2},
        {"blocks": [[[0.0]]], "m": 1, "n": 1},
        {"blocks": [[[1.0, 0.5], [0.0, 1.0]]], "m": 2, "n": 1},
        {"blocks": [[[1.0, 2.0], [2.0, 1.0]]], "m": 2, "n": 1},
        {"low": 1.5},
        {"low": -0.5},
        {"blocks": "generic", "m": 3, "n": 2, "smoothness": "max"},
        {"smoothness": "mean"},
        {"smoothness": "sdp", "m": 17, "n": 2},
    ],
    "rank_one_hessian": [
        {"m": 0},
        {"direction": "ones"},
        {"direction": [[1.0]], "m": 1, "n": 2},
        {"direction": [[0.0, 0.0]], "m": 1, "n": 2},
        {"direction": "values", "values": "log"},
        {"direction": "values", "values": [1.0], "m": 2, "n": 2},
        {"start": "far"},
        {"distance": -1.0},
    ],
    "logistic_regression": [
        {"data": "census", "samples": 0},
        {"samples": 50, "ridge": -0.1},
        {"samples": 50, "ridge": 0.1, "batch": 0},
        {"samples": 50, "ridge": 0.1, "start": "zero"},
        {"samples": 50, "ridge": 0.1, "intercept": 1},
        {"samples": 50, "ridge": 0.1, "start": [1.0, 2.0]},
        {"data": "digits", "positive": 12},
        {"data": "breast_cancer", "samples": 10_000},
    ],
    "frobenius_norm_distance": [{"kept": 0.0}, {"kept": 1.5}, {"m": 0}, {"n": -1}, {"start": "far"}, {"distance": 0.0}],
    "adversarial_gradients": [
        {"law": "fair"},
        {"m": 0},
        {"n": 1.5},
        {"length": 0},
        {"eta": -1.0},
        {"law": "extremal", "start": "gaussian"},
        {"law": "extremal", "normalize": "2"},
        {"law": "random", "spread": -1.0},
        {"law": "outward", "noise": -0.1},
        {"law": "outward", "start": "far"},
        {"distance": 0.0},
    ],
    "digits_regression": [
        {"loss": "hinge"},
        {"samples": 1798},
        {"samples": 0},
        {"pool": 3},
        {"ridge": 0.0, "loss": "softmax"},
        {"ridge": -1.0, "loss": "squared"},
        {"samples": 50, "loss": "squared", "batch": 0},
        {"samples": 50, "loss": "squared", "start": "zero"},
        {"samples": 50, "loss": "squared", "start": [[1.0, 2.0]]},
        {"samples": 50, "loss": "squared", "start": "signs", "distance": -1.0},
    ],
    "two_layer_network": [
        {"hidden": 0},
        {"activation": "relu"},
        {"loss": "hinge"},
        {"samples": 2000},
        {"pool": 8},
        {"ridge": -0.1},
        {"batch": 2.5},
        {"start": "zeros"},
        {"start": [[1.0]], "hidden": 1},
        {"scale": 0.0},
    ],
    "least_squares": [
        {"data": "gauss"},
        {"spectrum": [0.0, 0.0], "dim": 2},
        {"spectrum": "powr"},
        {"batch": 0},
        {"rotation": "random", "data": "equicorrelated"},
        {"kurtosis": 2.0, "data": "gaussian"},
        {"kurtosis": 0.9, "data": "decoupled"},
        {"correlation": 1.0, "data": "equicorrelated"},
        {"correlation": -0.5, "data": "equicorrelated", "dim": 3},
        {"correlation": 1.0, "data": "equicorrelated_rows"},
        {"correlation": -0.1, "data": "equicorrelated_rows"},
        {"samples": 0, "data": "equicorrelated_rows"},
        {"samples": 5, "data": "decoupled"},
        {"samples": 2.5, "data": "normalized"},
        {"samples": 443, "data": "diabetes"},
        {"samples": 1, "data": "diabetes"},
        {"target": 3, "data": "diabetes"},
        {"target": 10, "data": "digits"},
        {"labels": "real"},
        {"labels": "noisy", "data": "digits"},
        {"label_noise": -1.0},
        {"label_noise": 0.1, "labels": "real", "data": "digits"},
        {"start": "zeros"},
        {"start": [1.0], "data": "diabetes"},
        {"distance": 0.0},
    ],
    "decentralized_quadratic": [
        {"m": 0},
        {"n": 3, "dim": 2, "m": 5},
        {"n": 4, "dim": 8},
        {"spectrum": "power"},
        {"spectrum": [1.0, 0.0], "dim": 2},
        {"kappa": 0.5},
        {"placement": "random"},
        {"pool": "gaussian"},
        {"rotation": "reflection"},
        {"start": "far"},
        {"batch": 0},
        {"graph": "rings"},
        {"graph": "torus", "m": 8},
        {"graph": "hypercube", "m": 12},
        {"graph": "one_peer", "m": 12},
        {"graph": "barbell", "m": 3, "n": 8},
        {"graph": [[0, 1], [2, 3]], "m": 4},
        {"graph": [[0, 4]], "m": 4},
        {"graph": [[0, 1, 2]], "m": 4},
        {"graph": "erdos_renyi", "chance": 1.5},
        {"graph": "erdos_renyi", "chance": 0.001},
        {"graph": "geometric", "radius": -1.0},
        {"chance": 0.5},
        {"radius": 0.5, "graph": "erdos_renyi"},
        {"weights": "uniform"},
        {"weights": "adjacency", "graph": "star"},
        {"weights": "adjacency", "lazy": False},
        {"weights": "laplacian", "edge_weight": 0.9, "lazy": False},
        {"edge_weight": 0.1},
        {"weights": [[1.0]], "m": 2, "n": 8},
        {"weights": [[0.5, 0.5], [0.4, 0.6]], "m": 2, "n": 8},
        {"weights": [[0.5, 0.4], [0.4, 0.5]], "m": 2, "n": 8},
        {"weights": [[-0.1, 1.1], [1.1, -0.1]], "m": 2, "n": 8},
        {"weights": [[1.0, 0.0], [0.0, 1.0]], "m": 2, "n": 8},
        {"weights": [[0.5, 0.5], [0.5, 0.5]], "m": 2, "n": 8, "graph": "ring"},
        {"lazy": 1},
        {"link_loss": 1.0},
    ],
    "decentralized_regression": [
        {"data": "iris"},
        {"loss": "hinge"},
        {"split": "sorted"},
        {"m": 0},
        {"m": 16, "samples": 12},
        {"ridge": -1.0},
        {"ridge": 0.0, "data": "digits", "samples": 30, "m": 3},
        {"batch": 1.5},
        {"start": "far"},
        {"graph": "hypercube", "m": 12},
    ],
    "decentralized_nonconvex": [
        {"m": 0},
        {"L": 0.0},
        {"zeta": -1.0},
        {"zeta": 1.0, "dim": 1},
        {"sigma": -0.1},
        {"quadratic": 1},
        {"start": "far"},
        {"link_loss": -0.1},
    ],
    "kernel_machine": [
        {"samples": 0},
        {"samples": 1798},
        {"width": 0.0},
        {"samples": 200, "width": 100.0},
        {"samples": 20, "target": 10},
        {"samples": 20, "batch": 0},
        {"samples": 20, "start": "far"},
        {"samples": 20, "start": [1.0, 2.0]},
        {"samples": 20, "start": "signs", "distance": -1.0},
        {"samples": 20, "start": "signs", "normalize": "1"},
    ],
    "strong_growth": [{"a_min": 0.0}, {"a_min": 2.0}, {"rho": 0.9}, {"rho": "3"}, {"start": "far"}, {"distance": -1.0}],
}


def built(
    name: str, setting: dict[str, Any], backend: Backend = CPU, runs: np.ndarray[Any, Any] = RUNS, seed: int = 11
) -> Problem:
    return build_problem(problem(name, **setting), Draws(backend, seed, runs))


def iterates(instance: Problem, seed: int = 3) -> np.ndarray[Any, Any]:
    """Generic points, some near the start and some far from it: (rows, *shape)."""
    start = to_host(instance.start)
    scale = np.geomspace(1e-6, 1.0, len(start)).reshape((-1,) + (1,) * len(instance.shape))
    return start + scale * np.random.default_rng(seed).normal(size=start.shape)


def answers(instance: Problem, x: Any) -> list[np.ndarray[Any, Any]]:
    """Everything an instance says at ``x``, on the host."""
    asked: list[Callable[[Any], Any]] = [
        instance.gap,
        instance.gradient,
        lambda x: instance.sample(x, Draw(1)),
        lambda x: instance.sample(x, Draw(7, 2)),
    ]
    return [to_host(instance.start), *(to_host(ask(x)) for ask in asked)]


@every_case
def test_an_instance_has_the_shapes_and_the_start_it_declares(name: str, setting: dict[str, Any]) -> None:
    instance = built(name, setting)
    start = to_host(instance.start)
    assert start.shape == (len(RUNS), *instance.shape)
    assert start.dtype == np.float64 and np.isfinite(start).all()
    gap = instance.gap(instance.start)
    assert gap.shape == (len(RUNS),) and (gap > 0).all()
    assert np.array_equal(np.broadcast_to(instance.constants["Delta_0"], gap.shape), gap)
    assert all(np.ndim(value) == 0 or np.shape(value) == (len(RUNS),) for value in instance.constants.values())
    assert all(np.isfinite(value).all() for value in instance.constants.values())
    assert all(vector.shape == instance.shape for vector in instance.vectors.values())
    x = iterates(instance)
    assert instance.gap(x).shape == gap.shape and (instance.gap(x) >= 0).all()
    assert instance.gradient(x).shape == instance.sample(x, Draw(1)).shape == x.shape


@every_case
def test_the_assumptions_hold_on_the_instance(name: str, setting: dict[str, Any]) -> None:
    for runs in (RUNS, RUNS[:1]):
        found = certificate(built(name, setting, runs=runs))
        failed = [f"{part.label}: {part.reason}" for part in found.leaves() if part.verdict is not Verdict.CONSISTENT]
        assert found.verdict is Verdict.CONSISTENT, failed


@every_case
def test_noise_is_fresh_in_every_step_call_and_run(name: str, setting: dict[str, Any]) -> None:
    instance = built(name, setting)
    if instance.capabilities.get("adversary"):
        pytest.skip("the answers of an adversary estimate no gradient")
    x = np.broadcast_to(to_host(instance.start)[:1], instance.start.shape)
    noise = [instance.sample(x, draw) - instance.gradient(x) for draw in (Draw(1), Draw(2), Draw(1, 1))]
    drawn = "batch" in setting or instance.constants.get("rho", 1.0) > 1
    noisy = instance.vectors["sigma"].any() if "sigma" in instance.vectors else drawn
    if not noisy:
        assert not any(n.any() for n in noise)
        return
    assert len({n.tobytes() for n in noise}) == 3
    # where all gradients are one of two multiples of the true one, rows differ only over several steps
    steps = range(1, 9) if "rho" in setting else (1,)
    several = [(instance.sample(x, Draw(step)) - instance.gradient(x)).reshape(len(RUNS), -1) for step in steps]
    assert len(np.unique(np.concatenate(several, axis=1), axis=0)) > len(RUNS) // 2


@every_case
def test_a_row_is_the_same_alone_and_in_any_batch(name: str, setting: dict[str, Any]) -> None:
    whole = built(name, setting)
    x = iterates(whole)
    for chosen in ([0], [4], [10], [2, 9, 3], list(range(1, 10))):
        some = built(name, setting, runs=RUNS[chosen])
        for all_rows, few_rows in zip(answers(whole, x), answers(some, x[chosen]), strict=True):
            assert np.array_equal(all_rows[chosen], few_rows)
        for key, value in whole.constants.items():
            assert np.array_equal(np.broadcast_to(value, RUNS.shape)[chosen], np.broadcast_to(some.constants[key], len(chosen)))


@every_case
def test_another_device_gives_the_same_numbers(name: str, setting: dict[str, Any], strict: Backend) -> None:
    here, there = built(name, setting), built(name, setting, strict)
    x = iterates(here)
    for ours, theirs in zip(answers(here, x), answers(there, strict.asarray(x)), strict=True):
        np.testing.assert_allclose(theirs, ours, rtol=1e-10, atol=1e-13)
    assert there.constants.keys() == here.constants.keys()
    for key, value in here.constants.items():
        np.testing.assert_allclose(there.constants[key], value, rtol=1e-10)


@every_case
def test_seeds_and_runs_differ_only_where_the_instance_is_random(name: str, setting: dict[str, Any]) -> None:
    again = [to_host(built(name, setting, seed=seed).start) for seed in (11, 11, 12)]
    assert np.array_equal(again[0], again[1])
    drawn = setting.get("start", parameters(PROBLEMS, name)["start"].default) in DRAWN
    turned = setting.get("rotation") == "random" or "turned" in setting
    assert drawn != np.array_equal(again[0], again[2]) or turned


@pytest.mark.parametrize("name", [name for name in PROBLEMS.names() if "dim" in parameters(PROBLEMS, name)])
@pytest.mark.parametrize("dim", [0, -3, 2.5, True, "10", None])
def test_dim_must_be_a_positive_integer(name: str, dim: Any) -> None:
    with pytest.raises(TheorysimError, match="dim"):
        built(name, {"dim": dim})


@pytest.mark.parametrize(("name", "fault"), [(name, fault) for name in FAULTS for fault in FAULTS[name]])
def test_an_impossible_request_is_refused_with_a_reason(name: str, fault: dict[str, Any]) -> None:
    with pytest.raises(TheorysimError) as refused:
        built(name, fault)
    assert any(key in str(refused.value) for key in fault)


@pytest.mark.parametrize(("key", "value"), [("scale", float("nan")), ("distance", float("inf")), ("noise", float("nan"))])
def test_numbers_must_be_finite_even_without_a_spec(key: str, value: float) -> None:
    with pytest.raises(TheorysimError, match=f"{key}.*not finite"):
        PROBLEMS.get("separable_nonconvex")(Draws(CPU, 0, RUNS), **{key: value})


def test_spectra_after_rotation_keep_their_eigenvalues() -> None:
    for rotation in ("random", "hadamard", "pairs"):
        flat = built("anisotropic_quadratic", {"dim": 16, "spectrum": "log"})
        turned = built("anisotropic_quadratic", {"dim": 16, "spectrum": "log", "rotation": rotation})
        eigenvalues = np.linalg.eigvalsh(turned.capabilities["hessian"]())
        np.testing.assert_allclose(eigenvalues[::-1], flat.capabilities["spectrum"], rtol=1e-12)
        np.testing.assert_allclose(turned.constants["D_2_0"], flat.constants["D_2_0"], rtol=1e-13)
        np.testing.assert_allclose(turned.constants["Delta_0"], flat.constants["Delta_0"], rtol=1e-12)
        assert np.abs(turned.capabilities["hessian"]() - np.diag(flat.capabilities["spectrum"])).max() > 0.05


def test_the_gap_of_a_quadratic_is_that_of_its_hessian() -> None:
    instance = built("anisotropic_quadratic", {"dim": 9, "rotation": "random", "origin": "start", "spectrum": "linear"})
    x = iterates(instance)
    error, hessian = x - instance.minimizer, instance.capabilities["hessian"]()
    np.testing.assert_allclose(instance.gap(x), 0.5 * np.einsum("rj,jk,rk->r", error, hessian, error), rtol=1e-12)
    np.testing.assert_allclose(instance.gradient(x), error @ hessian, rtol=1e-11, atol=1e-13)


def test_the_smallest_row_sum_or_eigenvalue_bound_is_taken() -> None:
    instance = built(
        "anisotropic_quadratic", {"dim": 8, "spectrum": "two_value", "head": 1, "kappa": 100.0, "rotation": "hadamard"}
    )
    hessian = instance.capabilities["hessian"]()
    assert instance.constants["L_1norm"] == pytest.approx(min(np.abs(hessian).sum(), 8 * instance.constants["lambda_max"]))


def test_nonconvex_and_cosh_values_against_the_formulas() -> None:
    x = np.array([[0.3, -1.7, 2.0]] * len(RUNS))
    nonconvex = built("separable_nonconvex", {"dim": 3, "spectrum": [1.0, 0.5, 2.0]})
    assert nonconvex.gap(x)[0] == pytest.approx(0.5 * (0.09 / 1.09 + 0.5 * 2.89 / 3.89 + 2 * 4 / 5), rel=1e-14)
    cosh = built("cosh_sum", {"dim": 3, "a_min": 1.0, "a_max": 3.0})
    a = np.array([1.0, 2.0, 3.0])
    assert cosh.gap(x)[0] == pytest.approx(((np.cosh(a * x[0]) - 1) / a**2).sum(), rel=1e-13)
    np.testing.assert_allclose(cosh.vectors["L_0"], 1.5430806348152437, rtol=1e-15)
    np.testing.assert_allclose(cosh.vectors["L_1"], a * 2.718281828459045, rtol=1e-15)
    assert cosh.gap(1e-9 * x)[0] == pytest.approx(0.5e-18 * (x[0] ** 2).sum(), rel=1e-9, abs=0.0)


def test_every_so_many_coordinates_of_the_start_are_zero() -> None:
    start = built("separable_nonconvex", {"dim": 80, "zero_every": 10}).start
    zero = np.flatnonzero((start == 0).all(axis=0))
    assert zero.tolist() == [9, 19, 29, 39, 49, 59, 69, 79] and (np.delete(start, zero, axis=1) != 0).all()
    assert np.abs(start).max() > 2.5 and np.abs(start).max() <= 3.0

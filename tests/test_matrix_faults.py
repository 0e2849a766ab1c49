"""The faults of methods for matrices, of their problems and of their bounds do what they say."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from plain_loops import built, walk

from theorysim.backend import CPU
from theorysim.bounds import Bound
from theorysim.build import build_problem
from theorysim.model import Draw, Problem, Spec
from theorysim.mutation.algorithms import ALGORITHM_FAULTS
from theorysim.mutation.fault import ALGORITHM, BOUND, PROBLEM, Fault
from theorysim.mutation.matrices import MATRIX_FAULTS
from theorysim.mutation.mutants import FAULTS
from theorysim.mutation.runs import bounds_broken
from theorysim.noise import Draws
from theorysim.registry import ALGORITHMS, PROBLEMS, algorithm, problem

STEPS = 6
NOISY = problem("matrix_quadratic", m=3, n=5, rotation="random", turned="both", noise=0.3, batch=4)


def fault(name: str, breaks: str) -> Fault:
    return next(each for each in FAULTS if each.name == name and each.breaks == breaks)


def path(spec: Spec, broken: str = "") -> np.ndarray:
    """``(STEPS + 1, m, n)``, of the sound method or of one with a fault."""
    sound = ALGORITHMS.get(spec.name)
    faulty = fault(broken, ALGORITHM).broken(sound) if broken else sound
    with ALGORITHMS.replaced(spec.name, faulty):
        return np.stack([state.x[0] for state in walk(*built(NOISY, spec, runs=1), STEPS)])


# ------------------------------------------------------------------------------------------------ divisors
DIVISORS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "root_missing": lambda v: v + 0.1,
    "cube_root": lambda v: np.cbrt(v) + 0.1,
    "fourth_root": lambda v: np.sqrt(np.sqrt(v)) + 0.1,
    "eps_inside": lambda v: np.sqrt(v + 0.1),
    "lagged": lambda v: np.sqrt(v) + 0.1,
    "forgets": lambda v: np.sqrt(v) + 0.1,
    "not_accumulated": lambda v: np.sqrt(v) + 0.1,
}
KEPT = {"forgets": (0.99, 0.01), "not_accumulated": (0.0, 1.0)}
METHODS = {
    "asgo": ({}, lambda G: G @ G.T),
    "asgo-right": ({"side": "right"}, lambda G: G.T @ G),
    "one_sided_shampoo": ({}, lambda G: G @ G.T),
    "dasgo": ({}, lambda G: np.diag((G * G).sum(axis=1))),
    "dasgo-columns": ({"along": "columns"}, lambda G: np.diag((G * G).sum(axis=0))),
}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", DIVISORS)
def test_faults_of_the_divisor(name: str, method: str) -> None:
    settings, square = METHODS[method]
    spec = algorithm(method.partition("-")[0], lr=0.3, eps=0.1, **settings)
    if spec.name == "one_sided_shampoo" and name == "eps_inside":
        assert np.array_equal(path(spec, name), path(spec))  # it is inside
        return
    made, _ = built(NOISY, spec, runs=1)
    V = 0.0 * square(made.start[0]) + (0.01 * np.eye(3) if spec.name == "one_sided_shampoo" else 0.0)
    shift = 0.1 if spec.name == "one_sided_shampoo" else 0.0  # has no eps beside the root
    x, expected = made.start[0], [made.start[0]]
    for t in range(1, STEPS + 1):
        G, before = made.sample(x[None], Draw(t))[0], V
        keep, weight = KEPT.get(name, (1.0, 1.0))
        V = keep * V + weight * square(G)
        values, Q = np.linalg.eigh(before if name == "lagged" else V)
        kept = values > (-1.0 if spec.name == "dasgo" else 1e-12 * values.max())
        inverse = Q[:, kept] / (DIVISORS[name](values[kept]) - shift) @ Q[:, kept].T
        x = x - 0.3 * (inverse @ G if len(inverse) == 3 else G @ inverse)
        expected.append(x)
    assert np.allclose(path(spec, name), np.stack(expected), rtol=1e-9, atol=1e-11)
    assert not np.allclose(path(spec, name), path(spec), atol=1e-3)


OTHERWISE: list[tuple[str, Spec, dict[str, Any]]] = [
    ("root_missing", algorithm("shampoo", lr=0.1, eps=0.1), {"exponent": 0.5}),
    ("fourth_root", algorithm("shampoo", lr=0.1, eps=0.1), {"exponent": 0.125}),
    ("forgets", algorithm("shampoo", lr=0.1, eps=0.1), {"decay": 0.99}),
    ("not_accumulated", algorithm("shampoo", lr=0.1, eps=0.1), {"decay": 0.0}),
    ("decay_dropped", algorithm("shampoo", lr=0.1, ridge=0.1, decay=0.9), {"decay": 0.0}),
    ("eps_squared", algorithm("shampoo", lr=0.1, eps=0.1), {"eps": 0.01}),
    ("grafting_dropped", algorithm("shampoo", lr=0.1, eps=0.1, grafting="sgd"), {"grafting": None}),
    ("weight_decay_dropped", algorithm("shampoo", lr=0.1, weight_decay=0.5), {"weight_decay": 0.0}),
    ("ridge_dropped", algorithm("shampoo", lr=0.1, eps=0.1, ridge=0.5), {"ridge": 0.0}),
    ("momentum_dropped", algorithm("shampoo", lr=0.1, eps=0.1, momentum=0.5), {"momentum": 0.0}),
    ("side_swapped", algorithm("asgo", lr=0.3), {"side": "right"}),
    ("side_swapped", algorithm("one_sided_shampoo", lr=0.3, side="right"), {"side": "left"}),
    ("along_swapped", algorithm("dasgo", lr=0.3), {"along": "columns"}),
    ("eps_unsquared", algorithm("one_sided_shampoo", lr=0.3, eps=0.01), {"eps": 0.1}),
    ("length_dropped", algorithm("muon", lr=0.3, length="nuclear"), {"length": "constant"}),
    ("nesterov_dropped", algorithm("muon", lr=0.3, momentum=0.9, nesterov=True), {"nesterov": False}),
    ("normalize_dropped", algorithm("asgo_practical", lr=0.1), {"normalize": False}),
    ("clip_ignored", algorithm("asgo_practical", lr=0.1, clip=0.3, normalize=False), {"clip": None}),
]


@pytest.mark.parametrize(("name", "spec", "other"), OTHERWISE, ids=[f"{name}-{spec.name}" for name, spec, _ in OTHERWISE])
def test_faults_that_are_another_parameter(name: str, spec: Spec, other: dict[str, Any]) -> None:
    assert np.array_equal(path(spec, name), path(algorithm(spec.name, **{**spec.arguments, **other})))
    assert not np.allclose(path(spec, name), path(spec), atol=1e-4)


def test_a_lagged_shampoo() -> None:
    spec = algorithm("shampoo", lr=0.2, eps=0.1)
    made, _ = built(NOISY, spec, runs=1)
    x, L, R, expected = made.start[0], 0.1 * np.eye(3), 0.1 * np.eye(5), [made.start[0]]
    for t in range(1, STEPS + 1):
        G = made.sample(x[None], Draw(t))[0]
        (a, P), (b, Q) = np.linalg.eigh(L), np.linalg.eigh(R)
        x = x - 0.2 * (P * a**-0.25) @ P.T @ G @ (Q * b**-0.25) @ Q.T
        L, R = L + G @ G.T, R + G.T @ G
        expected.append(x)
    assert np.allclose(path(spec, "lagged"), np.stack(expected), rtol=0, atol=1e-12)
    assert not np.allclose(path(spec, "lagged"), path(spec), atol=1e-3)


@pytest.mark.parametrize("length", ["constant", "nuclear"])
def test_muon_along_the_gradient(length: str) -> None:
    spec = algorithm("muon", lr=0.2, length=length)
    mine, made = path(spec, "polar_missing"), built(NOISY, spec, runs=1)[0]
    for t in range(1, STEPS + 1):
        G = made.sample(mine[t - 1][None], Draw(t))[0]
        size = 0.2 * np.sqrt(3) * (np.linalg.norm(G, "nuc") if length == "nuclear" else 1.0)
        assert np.allclose(mine[t - 1] - mine[t], size * G / np.linalg.norm(G), rtol=0, atol=1e-12)


NOTHING = [
    ("side_swapped", algorithm("asgo_practical", side="smaller")),
    ("length_dropped", algorithm("muon")),
    ("decay_dropped", algorithm("shampoo")),
    ("forgets", algorithm("shampoo", decay=0.9)),
    ("lagged", algorithm("shampoo", grafting="sgd")),
    ("ridge_dropped", algorithm("shampoo")),
    ("grafting_dropped", algorithm("shampoo")),
    ("weight_decay_dropped", algorithm("soap")),
    ("eps_inside", algorithm("asgo")),
]


@pytest.mark.parametrize(("name", "spec"), NOTHING, ids=[name for name, _ in NOTHING])
def test_a_fault_that_has_nothing_to_change(name: str, spec: Spec) -> None:
    touched: list[int] = []
    factory = fault(name, ALGORITHM).broken(ALGORITHMS.get(spec.name), lambda: touched.append(1))
    with ALGORITHMS.replaced(spec.name, factory):
        built(NOISY, spec)
    assert not touched


def test_every_fault_is_tried_here() -> None:
    tried = {name for name, *_ in OTHERWISE} | {"polar_missing"}
    assert {each.name for each in MATRIX_FAULTS} <= tried
    for_matrices = {each.name for each in ALGORITHM_FAULTS if "asgo" in each.only}
    assert for_matrices == set(DIVISORS)


# ------------------------------------------------------------------------------------------------ problems
STATED: dict[str, tuple[float, set[str]]] = {
    "L_halved": (0.5, {"L", "L_1norm", "L_infnorm", "L_nuclearnorm", "L_opnorm", "l_1norm", "left_smoothness"}),
    "L_doubled": (2.0, {"L", "L_1norm", "L_infnorm", "L_nuclearnorm", "L_opnorm", "l_1norm", "left_smoothness"}),
    "L_nuclear_halved": (0.5, {"L_nuclearnorm"}),
    "V_halved": (0.5, {"V_nuclearnorm", "V_opnorm", "left_noise"}),
    "V_doubled": (2.0, {"V_nuclearnorm", "V_opnorm", "left_noise"}),
    "sigma_halved": (0.5, {"sigma", "sigma_1norm", "sigma_2norm", "sigma_row_1norm", "sigma_full"}),
    "Q_halved": (0.5, {"Q_nuclearnorm", "left_gradient"}),
    "Q_doubled": (2.0, {"Q_nuclearnorm", "left_gradient"}),
    "D_op_halved": (0.5, {"D_op_0"}),
    "D_row_halved": (0.5, {"D_row_0"}),
}
PROBLEM_FAULTS_TRIED = {*STATED, "noise_transposed"}


def twins(name: str, spec: Spec) -> tuple[Problem, Problem]:
    """The sound instance and the faulty one."""
    draws = Draws(CPU, 3, np.arange(2))
    sound = build_problem(spec, draws)
    with PROBLEMS.replaced(spec.name, fault(name, PROBLEM).broken(PROBLEMS.get(spec.name))):
        return sound, build_problem(spec, draws)


@pytest.mark.parametrize("name", STATED)
def test_faults_of_stated_constants(name: str) -> None:
    factor, wrong = STATED[name]
    spec = problem("rotated_group_norm", m=4, spectrum="power") if name.startswith("Q") else NOISY
    sound, faulty = twins(name, spec)
    called = [{key: value() for key, value in each.capabilities.items() if key.startswith("left")} for each in (sound, faulty)]
    for true, stated in ((sound.constants, faulty.constants), (sound.vectors, faulty.vectors), called):
        assert set(true) == set(stated)
        for key in true:
            assert np.array_equal(stated[key], true[key] * (factor if key in wrong else 1.0)), key
    assert wrong <= {*sound.constants, *sound.vectors, *sound.capabilities}


def test_transposed_noise() -> None:
    spec, at = problem("matrix_quadratic", m=4, n=4, noise=0.3, noise_law="power"), np.ones((2, 4, 4))
    sound, faulty = twins("noise_transposed", spec)
    noise = sound.sample(at, Draw(2)) - sound.gradient(at)
    assert np.allclose(faulty.sample(at, Draw(2)) - sound.gradient(at), np.swapaxes(noise, 1, 2), rtol=0, atol=1e-14)
    touched: list[int] = []
    factory = fault("noise_transposed", PROBLEM).broken(PROBLEMS.get("matrix_quadratic"), lambda: touched.append(1))
    for settings in ({"m": 4, "n": 5, "noise": 0.3}, {"m": 4, "n": 4}):
        factory(Draws(CPU, 0, np.arange(1)), **settings)
    assert not touched


# ------------------------------------------------------------------------------------------------ bounds
TEXT = "L_nuclearnorm*D_op_0**2/T + V_nuclearnorm*D_op_0/sqrt(M*T)"
VALUES = {
    "L_nuclearnorm": 7.0,
    "L_opnorm": 2.0,
    "V_nuclearnorm": 5.0,
    "V_opnorm": 3.0,
    "D_op_0": 1.5,
    "D_inf_0": 0.5,
    "M": 4.0,
    "T": 9.0,
}
OF_BOUNDS = {"op_for_nuclear": 2 * 1.5**2 / 9 + 3 * 1.5 / 6, "entry_for_op": 7 * 0.5**2 / 9 + 5 * 0.5 / 6}


@pytest.mark.parametrize("name", OF_BOUNDS)
def test_faults_of_bounds(name: str) -> None:
    heard: list[int] = []
    with bounds_broken(fault(name, BOUND), lambda: heard.append(1)):
        assert Bound(TEXT)(VALUES) == pytest.approx(OF_BOUNDS[name], rel=1e-14)
        assert heard
        heard.clear()
        assert Bound("L_nuclearnorm/D_op_0")({"L_nuclearnorm": 6.0, "D_op_0": 2.0}) == 3.0
        assert not heard

"""Every shipped fault does what it says, compared with loops and formulas written by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import test_matrix_faults as matrices
import test_momentum_faults as momentum
from plain_loops import built, walk

from theorysim.backend import CPU
from theorysim.bounds import Bound
from theorysim.build import build_problem
from theorysim.model import Draw, Problem, Spec
from theorysim.mutation.algorithms import ALGORITHM_FAULTS, WRAPPER_FAULTS
from theorysim.mutation.fault import Fault
from theorysim.mutation.mutants import FAULTS
from theorysim.mutation.problems import BOUND_FAULTS, PROBLEM_FAULTS
from theorysim.mutation.runs import bounds_broken
from theorysim.noise import Draws
from theorysim.registry import ALGORITHMS, PROBLEMS, algorithm, problem

STEPS = 6
NOISY = problem("anisotropic_quadratic", dim=4, rotation="random", noise=0.3, batch=4, start="uniform", origin="start")


def fault(name: str, among: tuple[Fault, ...] = FAULTS) -> Fault:
    return next(each for each in among if each.name == name)


def walked(spec: Spec) -> tuple[Problem, np.ndarray, np.ndarray]:
    """The problem, and one run's iterates and outputs, ``(STEPS + 1, dim)`` each."""
    made, method = built(NOISY, spec, runs=1)
    states = walk(made, method, STEPS)
    return made, np.stack([state.x[0] for state in states]), np.stack([method.output(state)[0] for state in states])


def broken(name: str, spec: Spec, target: str = "") -> tuple[Problem, np.ndarray, np.ndarray]:
    target = target or spec.name
    chosen = next(
        each for each in (*ALGORITHM_FAULTS, *WRAPPER_FAULTS) if each.name == name and each.applies_to(ALGORITHMS, target)
    )
    with ALGORITHMS.replaced(target, chosen.broken(ALGORITHMS.get(target))):
        return walked(spec)


# ------------------------------------------------------------------------------------------------ algorithms
def sgd_by_hand(
    made: Problem,
    lr: float = 0.4,
    hear: Callable[[np.ndarray], np.ndarray] = lambda g: g,
    length: Callable[[int], float] = lambda t: 1.0,
    exact: bool = False,
    stale: bool = False,
) -> np.ndarray:
    x, asked, path = made.start[0], [], [made.start[0]]
    for t in range(1, STEPS + 1):
        g = made.gradient(x[None])[0] if exact else made.sample(x[None], Draw(t))[0]
        asked.append(g)
        used = asked[max(len(asked) - 2, 0)] if stale else g
        x = x - length(t) * lr * hear(used)
        path.append(x)
    return np.stack(path)


FIRST = np.array([1.0, 0.0, 0.0, 0.0])
OF_SGD: dict[str, dict[str, Any]] = {
    "frozen": {"length": lambda t: 0.0},
    "stops": {"length": lambda t: float(t == 1)},
    "step_halved": {"lr": 0.2},
    "step_doubled": {"lr": 0.8},
    "step_sign": {"lr": -0.4},
    "step_decays": {"length": lambda t: t**-0.5},
    "stale_gradient": {"stale": True},
    "coordinate_lost": {"hear": lambda g: g * (1 - FIRST)},
    "coordinate_sign": {"hear": lambda g: g * (1 - 2 * FIRST)},
    "noise_ignored": {"exact": True},
}


@pytest.mark.parametrize("name", OF_SGD)
def test_faults_of_any_algorithm(name: str) -> None:
    made, path, _ = broken(name, algorithm("sgd", lr=0.4))
    assert np.allclose(path, sgd_by_hand(made, **OF_SGD[name]), rtol=1e-13, atol=1e-15)
    assert not np.allclose(path, sgd_by_hand(made), atol=1e-3)


OTHERWISE: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "eps_dropped": ("adagrad", {"eps": 0.1}, {"eps": 0.0}),
    "v0_dropped": ("adagrad_norm", {"v0": 0.5}, {"v0": 0.0}),
    "box_ignored": ("adagrad", {"box": 0.2, "lr": 0.5}, {"box": None}),
    "schedule_ignored": ("gradient_descent", {"schedule": "inverse"}, {"schedule": "constant"}),
    "momentum_dropped": ("nesterov", {"lr": 0.1}, {"momentum": 0.0}),
    "momentum_sign": ("heavy_ball", {"lr": 0.1, "momentum": 0.5}, {"momentum": -0.5}),
    "beta1_dropped": ("adam", {"lr": 0.1}, {"beta1": 0.0}),
    "correction_dropped": ("adam", {"lr": 0.1}, {"bias_correction": False}),
}


@pytest.mark.parametrize("name", OTHERWISE)
def test_faults_that_are_another_parameter(name: str) -> None:
    method, settings, other = OTHERWISE[name]
    path = broken(name, algorithm(method, **settings))[1]
    assert np.array_equal(path, walked(algorithm(method, **{**settings, **other}))[1])
    assert not np.allclose(path, walked(algorithm(method, **settings))[1], atol=1e-4)


SQUARES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "adagrad": lambda g: np.diag(g * g),
    "adagrad_norm": lambda g: (g @ g) * np.eye(4),
    "full_matrix_adagrad": lambda g: np.outer(g, g),
}
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


@pytest.mark.parametrize("method", SQUARES)
@pytest.mark.parametrize("name", DIVISORS)
def test_faults_of_the_divisor(name: str, method: str) -> None:
    made, path, _ = broken(name, algorithm(method, lr=0.3, eps=0.1))
    x, V = made.start[0], np.zeros((4, 4))
    expected = [x]
    for t in range(1, STEPS + 1):
        g, before = made.sample(x[None], Draw(t))[0], V
        keep, weight = KEPT.get(name, (1.0, 1.0))
        V = keep * V + weight * SQUARES[method](g)
        values, vectors = np.linalg.eigh(before if name == "lagged" else V)
        kept = (values > 1e-12 * values.max()) if method == "full_matrix_adagrad" else values > -1
        x = x - 0.3 * vectors[:, kept] @ (vectors[:, kept].T @ g / DIVISORS[name](values[kept]))
        expected.append(x)
    assert np.allclose(path, np.stack(expected), rtol=1e-9, atol=1e-12)
    assert not np.allclose(path, walked(algorithm(method, lr=0.3, eps=0.1))[1], atol=1e-3)


OUTPUTS: dict[str, Callable[[np.ndarray, int], np.ndarray]] = {
    "first_left_out": lambda w, t: w[1:t].mean(axis=0) if t > 1 else w[0],
    "next_included": lambda w, t: w[: t + 1].mean(axis=0),
    "shifted": lambda w, t: w[1 : t + 1].mean(axis=0),
    "one_too_many": lambda w, t: w[:t].sum(axis=0) / (t + 1),
    "last_iterate": lambda w, t: w[t],
    "first_iterate": lambda w, t: w[0],
}


@pytest.mark.parametrize("name", OUTPUTS)
def test_faults_of_the_average(name: str) -> None:
    spec = algorithm("average", of=algorithm("sgd", lr=0.4))
    made, path, outputs = broken(name, spec)
    assert np.array_equal(path, walked(spec)[1])
    expected = [path[0]] + [OUTPUTS[name](sgd_by_hand(made), t) for t in range(1, STEPS + 1)]
    assert np.allclose(outputs, expected, rtol=1e-12, atol=1e-14)


def test_a_wrapper_that_never_moves() -> None:
    _, path, outputs = broken("frozen", algorithm("average", of=algorithm("adagrad", lr=0.4)))
    assert (path == path[0]).all() and np.allclose(outputs, path[0], rtol=1e-15)


def test_every_fault_is_tried_here() -> None:
    assert {each.name for each in ALGORITHM_FAULTS} == {*OF_SGD, *OTHERWISE, *DIVISORS}
    assert {each.name for each in WRAPPER_FAULTS} == {"frozen", *OUTPUTS}
    assert {each.name for each in PROBLEM_FAULTS} == {
        *OF_PROBLEMS,
        *STATED,
        *matrices.PROBLEM_FAULTS_TRIED,
        *momentum.PROBLEM_FAULTS_TRIED,
    }
    assert {each.name for each in BOUND_FAULTS} == {*OF_BOUNDS, *matrices.OF_BOUNDS}
    for kind in ("algorithm", "wrapper", "problem", "bound"):
        names = [each.name for each in FAULTS if each.breaks == kind]
        assert len(names) == len(set(names))


# ------------------------------------------------------------------------------------------------ problems
def twins(name: str, spec: Spec) -> tuple[Problem, Problem]:
    draws = Draws(CPU, 3, np.arange(2))
    sound = build_problem(spec, draws)
    chosen = fault(name, PROBLEM_FAULTS)
    with PROBLEMS.replaced(spec.name, chosen.broken(PROBLEMS.get(spec.name))):
        return sound, build_problem(spec, draws)


AT = np.random.default_rng(0).standard_normal((2, 4))
OF_PROBLEMS: dict[str, Callable[[Problem, Problem], Any]] = {
    "gradient_doubled": lambda s, f: (f.gradient(AT), 2 * s.gradient(AT), f.sample(AT, Draw(2)), 2 * s.sample(AT, Draw(2))),
    "gradient_sign": lambda s, f: (f.gradient(AT), s.gradient(AT) * (1 - 2 * FIRST)),
    "gradient_lost": lambda s, f: (f.sample(AT, Draw(2)), s.sample(AT, Draw(2)) * (1 - FIRST)),
    "noise_missing": lambda s, f: (f.sample(AT, Draw(2)), s.gradient(AT)),
    "noise_doubled": lambda s, f: (f.sample(AT, Draw(2)), 2 * s.sample(AT, Draw(2)) - s.gradient(AT)),
    "noise_keeps_size": lambda s, f: (f.sample(AT, Draw(2)) - s.gradient(AT), 2 * (s.sample(AT, Draw(2)) - s.gradient(AT))),
    "noise_repeated": lambda s, f: (f.sample(AT, Draw(2, 1)), s.sample(AT, Draw(1, 1))),
    "gap_halved": lambda s, f: (f.gap(AT), s.gap(AT) / 2),
    "gap_unshifted": lambda s, f: (f.gap(AT - s.minimizer), s.gap(AT)),
    "gap_short": lambda s, f: (f.gap(AT), s.gap(np.where(FIRST > 0, s.minimizer, AT))),
    "start_doubled": lambda s, f: (f.start - s.minimizer, 2 * (s.start - s.minimizer)),
}


@pytest.mark.parametrize("name", OF_PROBLEMS)
def test_faults_of_problems(name: str) -> None:
    sound, faulty = twins(name, NOISY)
    values = OF_PROBLEMS[name](sound, faulty)
    for one, other in zip(values[::2], values[1::2], strict=True):
        assert np.allclose(one, other, rtol=1e-12, atol=1e-14)
    assert all(np.array_equal(faulty.constants[key], value) for key, value in sound.constants.items())


STATED: dict[str, tuple[float, set[str]]] = {
    "L_halved": (0.5, {"L", "L_1norm", "L_infnorm"}),
    "L_doubled": (2.0, {"L", "L_1norm", "L_infnorm"}),
    "L_1norm_halved": (0.5, {"L_1norm"}),
    "L_0_halved": (0.5, {"L_0", "L_0_1norm", "L_0_infnorm"}),
    "L_1_quartered": (0.25, {"L_1", "L_1_infnorm"}),
    "lambda_halved": (0.5, {"lambda_max"}),
    "lambda_doubled": (2.0, {"lambda_max"}),
    "mu_doubled": (2.0, {"lambda_min"}),
    "trace_halved": (0.5, {"trace_H"}),
    "sigma_halved": (0.5, {"sigma", "sigma_1norm", "sigma_2norm"}),
    "sigma_doubled": (2.0, {"sigma", "sigma_1norm", "sigma_2norm"}),
    "M_doubled": (2.0, {"M"}),
    "D_inf_halved": (0.5, {"D_inf_0"}),
    "D_2_halved": (0.5, {"D_2_0"}),
    "Delta_halved": (0.5, {"Delta_0"}),
}


@pytest.mark.parametrize("name", STATED)
def test_faults_of_stated_constants(name: str) -> None:
    factor, wrong = STATED[name]
    sound, faulty = twins(name, problem("cosh_sum", dim=4) if name in ("L_0_halved", "L_1_quartered") else NOISY)
    for true, stated in ((sound.constants, faulty.constants), (sound.vectors, faulty.vectors)):
        assert set(true) == set(stated)
        for key in true:
            assert np.array_equal(stated[key], true[key] * (factor if key in wrong else 1.0)), key
    assert wrong <= {*sound.constants, *sound.vectors}
    assert np.array_equal(sound.gap(AT), faulty.gap(AT))


@pytest.mark.parametrize("name", ["noise_missing", "noise_doubled", "noise_repeated", "M_doubled", "gap_unshifted", "L_0_halved"])
def test_a_problem_fault_that_has_nothing_to_change(name: str) -> None:
    touched: list[int] = []
    factory = fault(name).broken(PROBLEMS.get("anisotropic_quadratic"), lambda: touched.append(1))
    factory(Draws(CPU, 0, np.arange(1)), dim=4, batch=4)
    assert not touched
    fault("gap_halved").broken(PROBLEMS.get("anisotropic_quadratic"), lambda: touched.append(1))(Draws(CPU, 0, np.arange(1)))
    assert touched


# ------------------------------------------------------------------------------------------------ bounds
TEXT = "1.0*(3*L_1norm*D**2/T + 2*sqrt(5)*sigma_1norm*D/sqrt(T) + eps)"
VALUES = {
    "L_1norm": 7.0,
    "L_infnorm": 2.0,
    "sigma_1norm": 4.0,
    "sigma_2norm": 3.0,
    "D": 1.5,
    "T": np.array([2.0, 9.0]),
    "eps": 0.1,
}


def by_hand(L: float = 7.0, s: float = 4.0, D: float = 1.5, T: np.ndarray = VALUES["T"], eps: float = 0.1) -> np.ndarray:
    return 3 * L * D**2 / T + 2 * np.sqrt(5) * s * D / np.sqrt(T) + eps


OF_BOUNDS: dict[str, np.ndarray] = {
    "halved": by_hand() / 2,
    "doubled": by_hand() * 2,
    "infinite": np.array([np.inf, np.inf]),
    "T_shifted": by_hand(T=VALUES["T"] + 1),
    "T_squared": by_hand(T=VALUES["T"] ** 2),
    "last_term_lost": by_hand(eps=0.0),
    "first_term_lost": by_hand(L=0.0),
    "root_lost": 3 * 7 * 1.5**2 / VALUES["T"] + 2 * 5 * 4 * 1.5 / VALUES["T"] + 0.1,
    "square_lost": 3 * 7 * 1.5 / VALUES["T"] + 2 * np.sqrt(5) * 4 * 1.5 / np.sqrt(VALUES["T"]) + 0.1,
    "largest_L": by_hand(L=2.0),
    "two_norm": by_hand(s=3.0),
}


@pytest.mark.parametrize("name", OF_BOUNDS)
def test_faults_of_bounds(name: str) -> None:
    heard: list[int] = []
    with bounds_broken(fault(name), lambda: heard.append(1)):
        assert np.allclose(Bound(TEXT)(VALUES), OF_BOUNDS[name], rtol=1e-14)
        assert heard
        assert walked(algorithm("adagrad", lr="D_inf_0/sqrt(2)"))[1][1] == pytest.approx(SOUND_STEP)
    assert np.allclose(Bound(TEXT)(VALUES), by_hand(), rtol=1e-14)


SOUND_STEP = walked(algorithm("adagrad", lr="D_inf_0/sqrt(2)"))[1][1]


def test_a_bound_fault_that_changes_no_value_is_not_noted() -> None:
    heard: list[int] = []
    with bounds_broken(fault("T_squared"), lambda: heard.append(1)):
        assert Bound("3/T")({"T": 1.0}) == 3.0
        assert Bound("D/2")({"D": 1.0}) == 0.5
    assert not heard

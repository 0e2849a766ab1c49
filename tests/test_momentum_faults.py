"""The faults of momentum methods and of declared noise do what they say, to a run and to its expectation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import theorysim as ts
from theorysim.backend import CPU
from theorysim.build import build_problem
from theorysim.model import Problem, Spec
from theorysim.mutation.algorithms import ALGORITHM_FAULTS, WRAPPER_FAULTS
from theorysim.mutation.momentum import MOMENTUM_FAULTS
from theorysim.mutation.problems import PROBLEM_FAULTS
from theorysim.noise import Draws
from theorysim.registry import ALGORITHMS, PROBLEMS

DATA = ts.problem(
    "least_squares", data="gaussian", dim=3, spectrum=[1.0, 0.3, 0.05], start=[1.0, -2.0, 1.5], batch=2, label_noise=0.2
)
QUIET = ts.problem("anisotropic_quadratic", dim=3, spectrum=[1.0, 0.3, 0.05], start=[1.0, -2.0, 1.5], rotation="random")
MASS: dict[str, Any] = {"lr": 0.15, "alpha": 0.25, "kappa_tilde": 3.0}
THREE: dict[str, Any] = {"lr": 0.15, "alpha": 0.25, "delta": 0.5}
BALL: dict[str, Any] = {"lr": 0.3, "momentum": 0.6, "schedule": "step_decay:4,3"}

PARAMETERS: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "stage_early": ("heavy_ball", BALL, {"lr": 0.075}),
    "form_swapped": ("heavy_ball", BALL, {"form": "library"}),
    "kappa_tilde_dropped": ("mass", MASS, {"kappa_tilde": 1.0}),
    "compensation_sign": ("mass", MASS, {"kappa_tilde": 0.6}),
    "kappa_tilde_halved": ("mass", MASS, {"kappa_tilde": 1.5}),
    "alpha_doubled": ("mass", MASS, {"alpha": 0.5}),
    "alpha_halved": ("mass_three_sequences", THREE, {"alpha": 0.125}),
    "delta_doubled": ("mass_three_sequences", THREE, {"delta": 1.0}),
    "delta_halved": ("mass_three_sequences", THREE, {"delta": 0.25}),
    "kappa_a_quadrupled": ("parametrized_nesterov", {"kappa_a": 9.0}, {"kappa_a": 36.0}),
}
PROBLEM_FAULTS_TRIED = {
    "declared_noise_halved",
    "declared_noise_steady",
    "declared_noise_own",
    "declared_curvature",
    "growth_halved",
}
STATED = {
    "L1_halved": {"L1", "L_m", "kappa", "kappa_m"},
    "kappa_tilde_halved": {"kappa_tilde", "kappa_tilde_m"},
}
PROBLEM_FAULTS_TRIED |= set(STATED)


def gaps(what: Spec, method: Spec) -> tuple[Any, Any]:
    """A noiseless run, and the expectation under noise."""
    run = ts.run(QUIET, method, 12, record="all", device="cpu")["gap"][0]
    return run, ts.expected_gap(what, method, range(13), device="cpu")


def broken(name: str, method: Spec) -> tuple[Any, Any]:
    faults = (*MOMENTUM_FAULTS, *ALGORITHM_FAULTS, *WRAPPER_FAULTS)
    chosen = next(fault for fault in faults if fault.name == name and fault.applies_to(ALGORITHMS, method.name))
    with ALGORITHMS.replaced(method.name, chosen.broken(ALGORITHMS.get(method.name))):
        return gaps(DATA, method)


def test_every_fault_is_tried_here() -> None:
    assert {fault.name for fault in MOMENTUM_FAULTS} == {*PARAMETERS, "gradient_behind"}


@pytest.mark.parametrize("name", PARAMETERS)
def test_faults_that_are_another_parameter(name: str) -> None:
    method, settings, other = PARAMETERS[name]
    found, sound = broken(name, ts.algorithm(method, **settings)), gaps(DATA, ts.algorithm(method, **settings))
    for one, expected, healthy in zip(found, gaps(DATA, ts.algorithm(method, **{**settings, **other})), sound, strict=True):
        np.testing.assert_allclose(one, expected, rtol=1e-12)
        assert not np.allclose(one, healthy, rtol=1e-3)


def test_a_gradient_that_is_taken_behind_makes_nesterov_heavy_ball() -> None:
    found = broken("gradient_behind", ts.algorithm("nesterov", lr=0.2, momentum=0.6))
    for one, expected in zip(found, gaps(DATA, ts.algorithm("heavy_ball", lr=0.2, momentum=0.6)), strict=True):
        np.testing.assert_allclose(one, expected, rtol=1e-11)
    touched: list[int] = []
    fault = next(fault for fault in MOMENTUM_FAULTS if fault.name == "gradient_behind")
    fault.broken(ALGORITHMS.get("heavy_ball"), lambda: touched.append(1))(lr=0.2, momentum=0.6)
    assert not touched


@pytest.mark.parametrize(
    "method", [ts.algorithm("mass", **MASS), ts.algorithm("average", of=ts.algorithm("heavy_ball", **BALL))], ids=str
)
def test_a_method_that_never_moves_has_no_expectation_that_moves(method: Spec) -> None:
    for one, healthy in zip(broken("frozen", method), gaps(DATA, method), strict=True):
        np.testing.assert_allclose(one, healthy[0], rtol=1e-12)


def test_the_last_iterate_in_place_of_an_average() -> None:
    inner = ts.algorithm("sgd", lr=0.3)
    for one, expected in zip(broken("last_iterate", ts.algorithm("average", of=inner)), gaps(DATA, inner), strict=True):
        np.testing.assert_allclose(one, expected, rtol=1e-12)


def test_a_fault_of_a_step_alone_leaves_the_expectation_to_be_compared_with() -> None:
    method = ts.algorithm("mass", **MASS)
    for name in ("coordinate_sign", "stale_gradient", "stops"):
        (run, expectation), (sound_run, sound) = broken(name, method), gaps(DATA, method)
        np.testing.assert_array_equal(expectation, sound)
        assert not np.allclose(run, sound_run, rtol=1e-3)


# ------------------------------------------------------------------------------------------------ problems
def twins(name: str, spec: Spec = DATA) -> tuple[Problem, Problem]:
    draws, chosen = Draws(CPU, 3, np.arange(2)), next(fault for fault in PROBLEM_FAULTS if fault.name == name)
    sound = build_problem(spec, draws)
    with PROBLEMS.replaced(spec.name, chosen.broken(PROBLEMS.get(spec.name))):
        return sound, build_problem(spec, draws)


def test_faults_of_declared_noise() -> None:
    parts = {
        "declared_noise_halved": (0.5, 1.0, 1.0),
        "declared_noise_steady": (1.0, 0.0, 0.0),
        "declared_noise_own": (1.0, 1.0, 0.0),
    }
    for name, factors in parts.items():
        sound, faulty = (each.capabilities["gradient_noise"] for each in twins(name))
        for part, factor in zip(("additive", "own", "shared"), factors, strict=True):
            np.testing.assert_array_equal(getattr(faulty, part), factor * getattr(sound, part))
    sound, faulty = (each.capabilities["spectrum"] for each in twins("declared_curvature"))
    np.testing.assert_array_equal(faulty, sound * [1.0, 1.0, 2.0])


@pytest.mark.parametrize("name", STATED)
def test_faults_of_stated_constants(name: str) -> None:
    sound, faulty = twins(name)
    for key, value in sound.constants.items():
        np.testing.assert_array_equal(faulty.constants[key], value * (0.5 if key in STATED[name] else 1.0))
    growing = ts.problem("strong_growth", rho=3.0)
    assert [each.constants["rho"] for each in twins("growth_halved", growing)] == [3.0, 1.5]

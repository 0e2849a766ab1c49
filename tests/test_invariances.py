"""What a change of units, order, axes or origin may and may not do to each algorithm."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_loops import iterates, quadratic

from theorysim.registry import algorithm, problem
from theorysim.run import run

DIM = 20
L = 1.0 / np.arange(1, DIM + 1)
METHODS = {  # an instance of every algorithm, away from its stability limit
    "gradient_descent": algorithm("gradient_descent", lr=0.4),
    "sgd": algorithm("sgd", lr=0.4, schedule="inverse_sqrt"),
    "heavy_ball": algorithm("heavy_ball", lr=0.3, momentum=0.7),
    "nesterov": algorithm("nesterov", lr=0.4),
    "adagrad_norm": algorithm("adagrad_norm", lr=0.8),
    "full_matrix_adagrad": algorithm("full_matrix_adagrad", lr=0.8, eps=1e-3),
    "adagrad": algorithm("adagrad", lr=0.3),
    "adam": algorithm("adam", lr=0.05),
    "rmsprop": algorithm("rmsprop", lr=0.05, momentum=0.5),
    "sign_sgd": algorithm("sign_sgd", lr=0.05, schedule="inverse_sqrt"),
    "signum": algorithm("signum", lr=0.05),
    "average": algorithm("average", of=algorithm("adagrad", lr=0.3)),
    "faulty_adagrad": algorithm("faulty_adagrad", fault="eps_inside", lr=0.3, eps=0.1),
}
ROTATABLE = ("gradient_descent", "sgd", "heavy_ball", "nesterov", "adagrad_norm", "full_matrix_adagrad")
COORDINATEWISE = ("adagrad", "adam", "rmsprop", "sign_sgd", "signum", "average", "faulty_adagrad")
some = settings(max_examples=25, derandomize=True, deadline=None)
seeds = st.integers(0, 2**32 - 1)


# ------------------------------------------------------------------- units of each coordinate
def apart(scales, seed, spec):
    """max over 100 steps of ‖w_t - w'_t‖_inf when f_j becomes c_j f_j, and the same for the start U(-1, 1)."""
    pair = [
        iterates(quadratic(np.diag(curvature), np.random.default_rng(seed).uniform(-1, 1, DIM)), spec, 100, runs=1)
        for curvature in (L, scales * L)
    ]
    return np.abs(pair[0] - pair[1]).max()


@some
@given(seed=seeds, exponents=st.lists(st.floats(-9, 9), min_size=DIM, max_size=DIM), eta=st.floats(0.05, 3.0))
def test_adagrad_does_not_see_the_scale_of_a_coordinate(seed, exponents, eta):
    assert apart(np.exp(exponents), seed, algorithm("adagrad", lr=eta)) <= 1e-10


@pytest.mark.parametrize("seed", range(5))
def test_an_eps_and_a_scalar_accumulator_see_it(seed):
    scales = np.exp(1.5 * np.random.default_rng(100 + seed).normal(size=DIM))
    assert apart(scales, seed, algorithm("adagrad", lr=0.5)) <= 1e-10
    assert apart(scales, seed, algorithm("adagrad", lr=0.5, eps=1e-2)) > 0.1
    assert apart(scales, seed, algorithm("adagrad_norm", lr=0.5)) > 0.1


# ------------------------------------------------------------------- order, sign and axes
def dense(seed, dim=6):
    rng = np.random.default_rng(seed)
    half = rng.normal(size=(dim, dim))
    return half @ half.T / dim / 4, rng.normal(size=dim), rng


@pytest.mark.parametrize("name", METHODS)
@settings(some, max_examples=8)
@given(seed=seeds)
def test_a_signed_permutation_of_the_coordinates_permutes_the_iterates(name, seed):
    hessian, start, rng = dense(seed)
    turn = np.eye(6)[rng.permutation(6)] * rng.choice([-1.0, 1.0], 6)[:, None]
    here = iterates(quadratic(hessian, start), METHODS[name], 30, runs=1)
    there = iterates(quadratic(turn @ hessian @ turn.T, turn @ start), METHODS[name], 30, runs=1)
    np.testing.assert_allclose(there, here @ turn.T, rtol=0, atol=1e-9)


def gaps(spec, seed=0, **params):
    made = problem("anisotropic_quadratic", dim=16, start="uniform", low=0.3, **params)
    return run(made, spec, 60, runs=2, seed=seed, record="all")["gap"]


@pytest.mark.parametrize("name", ROTATABLE)
@settings(some, max_examples=6)
@given(seed=seeds, kind=st.sampled_from(["random", "hadamard", "pairs"]))
def test_a_rotation_turns_the_iterates(name, seed, kind):
    """H and w_1 - w* are turned by the same matrix, so f(w_t) - f* stays."""
    aligned, turned = gaps(METHODS[name], seed), gaps(METHODS[name], seed, rotation=kind)
    np.testing.assert_allclose(turned, aligned, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("name", COORDINATEWISE)
def test_coordinatewise_methods_see_a_rotation(name):
    aligned, turned = gaps(METHODS[name]), gaps(METHODS[name], rotation="random")
    assert np.abs(turned / aligned - 1).max(axis=1).min() > 0.1


# ------------------------------------------------------------------- origin
@pytest.mark.parametrize("name", METHODS)
@settings(some, max_examples=6)
@given(seed=seeds)
def test_the_origin_does_not_matter(name, seed):
    """w* = 0 or w_1 = 0: the same errors w_t - w*, with noise and without a box."""
    noisy = {"noise": 0.2, "rotation": "random"}
    at_minimizer, at_start = (gaps(METHODS[name], seed, origin=where, **noisy) for where in ("minimizer", "start"))
    np.testing.assert_allclose(at_start, at_minimizer, rtol=1e-8, atol=1e-12)


def test_a_box_makes_the_origin_matter():
    boxed = algorithm("adagrad", lr=0.3, box=0.5)
    assert np.abs(gaps(boxed, origin="start") / gaps(boxed) - 1).max() > 0.1

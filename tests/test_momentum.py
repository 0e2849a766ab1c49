"""Methods with momentum: against loops written from their equations, each other and another library; their known rates."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from plain_loops import DENSE, LRS, RUNS, built, by_loop, iterates, quadratic, walk

from theorysim.model import Draw, TheorysimError
from theorysim.registry import algorithm, problem
from theorysim.schedules import schedule as step_schedule


# ------------------------------------------------------------------------------------------------ the equations, by rows
def loop_library(ask, w, lr, momentum, schedule):
    buffer = 0 * w
    for t in itertools.count(1):
        buffer = momentum * buffer + ask(t, w)
        w = w - lr * step_schedule(schedule)(t) * buffer
        yield w


def loop_polyak(ask, w, lr, momentum, schedule):
    before = w
    for t in itertools.count(1):
        before, w = w, w - lr * step_schedule(schedule)(t) * ask(t, w) + momentum * (w - before)
        yield w


def loop_nag(ask, x, kappa_a, lr):
    s, y = 1 / kappa_a, x
    theta = (1 - math.sqrt(s)) / (1 + math.sqrt(s))
    for t in itertools.count(1):
        before, y = y, x - lr * ask(t, x)
        x = (1 + theta) * y - theta * before
        yield y


def loop_ball(ask, x, kappa_a, lr):
    root_b = (math.sqrt(kappa_a) - 1) / (math.sqrt(kappa_a) + 1)
    before = x
    for t in itertools.count(1):
        before, x = x, x - (1 + root_b) ** 2 * lr * ask(t, x) + root_b**2 * (x - before)
        yield x


def loop_mass(ask, w, lr, alpha, kappa_tilde):
    gamma, eta2, u = (1 - alpha) / (1 + alpha), lr * (1 - 1 / kappa_tilde) / (1 + alpha), w
    for t in itertools.count(1):
        g = ask(t, u)
        before, w = w, u - lr * g
        u = (1 + gamma) * w - gamma * before + eta2 * g
        yield w


def loop_three(ask, w, lr, alpha, delta):
    v = w
    for t in itertools.count(1):
        u = (alpha * v + w) / (1 + alpha)
        g = ask(t, u)
        w, v = u - lr * g, (1 - alpha) * v + alpha * u - delta * g
        yield w


def loop_triple(ask, xi, rho, lr):
    beta, gamma = rho**2 / (2 - rho), rho**2 / ((1 + rho) * (2 - rho))
    before = xi
    for t in itertools.count(1):
        y = (1 + gamma) * xi - gamma * before
        before, xi = xi, (1 + beta) * xi - beta * before - lr * ask(t, y)
        yield xi


BALL = {"lr": LRS, "momentum": [0.9, 0.5, 0.0]}
CASES = [
    ("heavy_ball", {**BALL, "form": "polyak", "schedule": "step_decay:3,17"}, loop_polyak),
    ("heavy_ball", {**BALL, "form": "library", "schedule": "step_decay:3,17"}, loop_library),
    ("heavy_ball", {**BALL, "form": "library", "schedule": "cosine_decay:60"}, loop_library),
    ("parametrized_nesterov", {"lr": LRS, "kappa_a": [1.0, 7.3, 400.0]}, loop_nag),
    ("parametrized_heavy_ball", {"lr": [0.07, 0.2, 0.4], "kappa_a": [1.0, 7.3, 400.0]}, loop_ball),
    ("mass", {"lr": LRS, "alpha": [0.5, 0.11, 0.02], "kappa_tilde": [1.0, 2.7, 9.0]}, loop_mass),
    ("mass_three_sequences", {"lr": LRS, "alpha": [0.5, 0.11, 0.02], "delta": [0.3, 0.5, 1.7]}, loop_three),
    ("triple_momentum", {"lr": LRS, "rho": [0.0, 0.4, 0.9]}, loop_triple),
]


def without_form(loop):
    return lambda ask, w, form=None, **params: loop(ask, w, **params)


@pytest.mark.parametrize(("name", "params", "loop"), CASES, ids=[f"{i}-{case[0]}" for i, case in enumerate(CASES)])
def test_equals_a_loop_written_from_the_equations(name, params, loop):
    expected = by_loop(name, params, without_form(loop))
    np.testing.assert_allclose(iterates(DENSE, algorithm(name, **params)), expected, rtol=1e-12, atol=1e-12)
    for key in [key for key, value in params.items() if isinstance(value, list)]:
        other = {**params, key: [1.01 * value for value in params[key]]}
        off = np.abs(iterates(DENSE, algorithm(name, **other)) - expected).max(axis=(0, 2)).reshape(len(LRS), RUNS)
        assert (off[:2] > 1e-4).any(), f"{key} makes no difference"


def test_the_two_forms_of_heavy_ball_differ_where_the_step_size_changes_only():
    polyak, library = (iterates(DENSE, algorithm("heavy_ball", **CASES[n][1])) for n in (0, 1))
    np.testing.assert_allclose(library[:18], polyak[:18], rtol=0, atol=1e-13)
    assert np.abs(library[18] - polyak[18]).max() > 1e-2
    without_momentum = slice(2 * RUNS, None)
    np.testing.assert_array_equal(library[:, without_momentum], polyak[:, without_momentum])


def test_the_output_of_triple_momentum():
    made, method = built(DENSE, algorithm("triple_momentum", lr=0.3, rho=[0.0, 0.4, 0.9]))
    states = walk(made, method)
    xi, mine = np.stack([state.x for state in states]), np.stack([method.output(state) for state in states])
    rho = np.repeat([0.0, 0.4, 0.9], RUNS)[:, None]
    expected = xi[1:] + rho**2 / (1 - rho**2) * (xi[1:] - xi[:-1])
    np.testing.assert_allclose(mine[1:], expected, rtol=1e-12, atol=1e-12)
    np.testing.assert_array_equal(mine[0], made.start)


@pytest.mark.parametrize(("name", "params"), [case[:2] for case in CASES], ids=[f"{i}-{case[0]}" for i, case in enumerate(CASES)])
def test_matrix_iterates_and_single_variants_are_the_same_numbers(name, params):
    curvature, start = np.linspace(0.2, 2.0, 6), np.linspace(-1.0, 1.3, 6 * 3).reshape(3, 6)

    def of_shape(shape, rows):
        slope = curvature.reshape(shape)
        given = {"gradient": lambda x: slope * x, "sample": lambda x, draw: slope * x, "shape": shape}
        return replace(quadratic(np.diag(curvature), curvature), start=start[rows].reshape(-1, *shape), **given)

    flat, table = (iterates(of_shape(shape, [0, 1, 2]), algorithm(name, **params), 10, runs=1) for shape in [(6,), (2, 3)])
    np.testing.assert_array_equal(table.reshape(flat.shape), flat)
    for i in range(3):
        one = algorithm(name, **{key: value[i] if isinstance(value, list) else value for key, value in params.items()})
        np.testing.assert_array_equal(iterates(of_shape((6,), [i]), one, 10, runs=1)[:, 0], flat[:, i])


# ------------------------------------------------------------------------------------------------ each other
def same(one, other):
    np.testing.assert_allclose(iterates(DENSE, one), iterates(DENSE, other), rtol=1e-12, atol=1e-13)


def test_mass_in_two_forms():
    """delta from eta_2 = (eta - alpha delta)/(1 + alpha), so delta = lr/(alpha kappa~); v = w + (1 + alpha)/alpha z."""
    alpha, kappa_tilde = [0.4, 0.11, 0.02], [1.0, 2.7, 9.0]
    delta = [0.3 / (a * k) for a, k in zip(alpha, kappa_tilde, strict=True)]
    two = algorithm("mass", lr=0.3, alpha=alpha, kappa_tilde=kappa_tilde)
    three = algorithm("mass_three_sequences", lr=0.3, alpha=alpha, delta=delta)
    same(two, three)
    ratio = (1 + np.repeat(alpha, RUNS)[:, None]) / np.repeat(alpha, RUNS)[:, None]
    for one, other in zip(walk(*built(DENSE, two)), walk(*built(DENSE, three)), strict=True):
        np.testing.assert_allclose(one.x + ratio * one.z, other.auxiliary, rtol=1e-11, atol=1e-12)


def test_mass_without_compensation_is_nesterov():
    alpha = [0.4, 0.11, 0.02]
    momentum = [(1 - a) / (1 + a) for a in alpha]
    same(algorithm("mass", lr=0.3, alpha=alpha, kappa_tilde=1.0), algorithm("nesterov", lr=0.3, momentum=momentum))
    compensated, plain = (iterates(DENSE, algorithm("mass", lr=0.3, alpha=alpha, kappa_tilde=k)) for k in (1.5, 1.0))
    assert np.abs(compensated - plain).max() > 0.01


def test_free_condition_numbers():
    kappa_a = [1.0, 7.3, 400.0]
    momentum = [(math.sqrt(k) - 1) / (math.sqrt(k) + 1) for k in kappa_a]
    same(algorithm("parametrized_nesterov", kappa_a=kappa_a), algorithm("nesterov", momentum=momentum))
    same(algorithm("parametrized_nesterov", kappa_a=1.0), algorithm("sgd", lr="1/lambda_max"))
    same(algorithm("parametrized_heavy_ball", kappa_a=1.0), algorithm("sgd", lr="1/lambda_max"))
    same(algorithm("parametrized_heavy_ball", kappa_a="lambda_max/lambda_min"), algorithm("heavy_ball"))


def test_defaults_of_mass_for_gaussian_least_squares():
    """Eigenvalues 1, 0.1, 0.01 and minibatches of 2: the published numbers of this instance."""
    H = np.diag([1.0, 0.1, 0.01])
    L_m, kappa_tilde_m = (2 + 1.11) / 2 + 1 / 2, 5 / 2 + 1 / 2
    constants = {"L_m": L_m, "kappa_m": L_m / 0.01, "kappa_tilde_m": kappa_tilde_m, "lambda_min": 0.01, "lambda_max": 1.0}
    made = replace(quadratic(H, np.array([1.0, 1.0, 1.0])), constants=constants)
    for name in ("mass", "mass_three_sequences"):
        weights = built(made, algorithm(name), runs=1)[1].linear
        eta2 = weights.momentum * weights.lr - weights.kick
        found = [weights.lr, weights.momentum, eta2, 2 / weights.friction - 1]
        assert found == pytest.approx([0.4866180049, 0.9225689097, 0.3118522157, 24.829418], rel=1e-7)
    same_path = [iterates(made, algorithm(name), 60, runs=1) for name in ("mass", "mass_three_sequences")]
    np.testing.assert_allclose(*same_path, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(
    ("name", "params", "words"),
    [
        ("heavy_ball", {"form": "torch"}, "form='torch' is not allowed; choose one of polyak, library"),
        ("heavy_ball", {"schedule": "linear:0"}, "the horizon"),
        ("parametrized_nesterov", {"kappa_a": 0.5}, "kappa_a=0.5 is not allowed; give a number of at least 1"),
        ("parametrized_nesterov", {"kappa_a": [2.0, 0.25]}, "kappa_a=0.25 is not allowed"),
        ("parametrized_heavy_ball", {"kappa_a": "log(lambda_max - 2)"}, "kappa_a=nan is not allowed"),
        ("triple_momentum", {"rho": 1.0}, "rho=1 is not allowed; give a number of at least 0 and below 1"),
        ("triple_momentum", {"rho": [0.5, -0.1]}, "rho=-0.1 is not allowed"),
        ("mass", {}, "uses L_m; known here"),
    ],
)
@pytest.mark.filterwarnings("ignore:invalid value")
def test_refusals(name, params, words):
    with pytest.raises(TheorysimError, match=words):
        built(DENSE, algorithm(name, **params))


def test_a_free_condition_number_has_no_default():
    with pytest.raises(TheorysimError, match="parametrized_nesterov needs kappa_a"):
        algorithm("parametrized_nesterov")
    flat = problem("anisotropic_quadratic", dim=2, spectrum=[1.0, 0.0])
    with pytest.raises(TheorysimError, match="rho=1 is not allowed"):
        built(flat, algorithm("triple_momentum"))


# ------------------------------------------------------------------------------------------------ another library
@pytest.mark.parametrize(
    ("theirs", "mine", "at"),
    [
        ({"nesterov": False}, algorithm("heavy_ball", lr=0.3, momentum=0.8, form="library", schedule="step_decay:3,2"), "x"),
        ({"nesterov": True}, algorithm("nesterov", lr=0.3, momentum=0.8), "u"),
    ],
    ids=["heavy_ball", "nesterov"],
)
def test_against_optax(theirs, mine, at):
    """optax keeps a buffer of raw gradients; in its Nesterov form the parameters are the points u where gradients are taken."""
    optax, jax = pytest.importorskip("optax"), pytest.importorskip("jax")
    made, method = built(DENSE, mine)
    factor = step_schedule(mine.arguments.get("schedule", "constant"))
    with jax.enable_x64(True):
        sizes = jax.numpy.asarray([0.3 * factor(t) for t in range(1, 10)])
        rule = optax.sgd(lambda count: sizes[count], momentum=0.8, **theirs)
        x = jax.numpy.asarray(made.start)
        state, path = rule.init(x), [np.asarray(x)]
        for t in range(1, 10):
            change, state = rule.update(jax.numpy.asarray(made.sample(path[-1], Draw(t))), state)
            x = optax.apply_updates(x, change)
            path.append(np.asarray(x))
    found = [each.x if at == "x" else each.x + 0.8 * (each.x - each.previous) for each in walk(made, method, 9)]
    np.testing.assert_allclose(np.stack(found), np.stack(path), rtol=1e-12, atol=1e-13)


# ------------------------------------------------------------------------------------------------ what is known of their rates
WEIGHTS = np.geomspace(1.0, 1e-2, 6)


def log_cosh():
    """f(w) = sum_j a_j (w_j^2/2 + log cosh w_j): mu = min a, L = 2 max a; start at 2 in every coordinate."""

    def gap(x):
        return np.sum(WEIGHTS * (0.5 * x * x + np.log1p(2 * np.sinh(x / 2) ** 2)), axis=1)

    def slope(x):
        return WEIGHTS * (x + np.tanh(x))

    given = {"gap": gap, "gradient": slope, "sample": lambda x, draw: slope(x)}
    return replace(quadratic(np.eye(6), np.full(6, 2.0)), constants={"lambda_min": 1e-2, "lambda_max": 2.0}, **given)


ALIKE = quadratic(np.diag(np.geomspace(0.01, 2, 6)), np.full(6, 2.0))


@pytest.mark.parametrize("made", [ALIKE, log_cosh()], ids=["quadratic", "log_cosh"])
def test_triple_momentum_contracts_at_its_rate(made):
    """|xi_t - x*| falls like rho^t with rho = 1 - sqrt(mu/L), and f at what is put out like rho^2t, up to kappa."""
    made = replace(made, constants={"lambda_min": 0.01, "lambda_max": 2.0})
    states, method = walk(*built(made, algorithm("triple_momentum"), runs=1), 400), built(made, algorithm("triple_momentum"))[1]
    distance = np.array([np.linalg.norm(state.x) for state in states])
    gaps = np.array([made.gap(method.output(state))[0] for state in states])
    law = (1 - math.sqrt(0.01 / 2)) ** np.arange(401)
    assert (distance / distance[0] / law).max() <= 1 + 1e-9
    assert (distance[400] / distance[200]) ** (1 / 200) == pytest.approx(1 - math.sqrt(0.01 / 2), rel=1e-6)
    assert (gaps / gaps[0] / law**2).max() <= 2 / 0.01


def test_three_sequences_on_a_function_that_is_no_quadratic():
    """Phi_t = |v_t - w*|^2 + (2/mu) (f(w_t) - f*) <= (1 - alpha)^t Phi_0 with lr = 1/L, alpha = sqrt(mu/L), delta = alpha/mu."""
    made, alpha = log_cosh(), math.sqrt(0.01 / 2)

    def worst(**change):
        given = {"lr": 0.5, "alpha": alpha, "delta": alpha / 0.01} | change
        states = walk(*built(made, algorithm("mass_three_sequences", **given), runs=1), round(6 / alpha))
        phi = np.array([np.sum(state.auxiliary**2) + 200 * made.gap(state.x)[0] for state in states])
        return (phi[1:] / phi[0] / (1 - alpha) ** np.arange(1, len(phi))).max()

    assert worst() == pytest.approx(0.714, abs=5e-4)
    assert worst(lr=1.0) > 10 and worst(delta=2 * alpha / 0.01) > 2

"""Every algorithm against a plain loop written from its formula, on a dense noisy quadratic; references; devices; purity."""

from __future__ import annotations

from dataclasses import replace

import array_api_strict
import numpy as np
import pytest
import scipy.linalg
from plain_loops import ALL, CASES, DENSE, DIAGONAL, FROZEN, LRS, RUNS, STEPS, built, by_loop, iterates, quadratic, walk

from theorysim.backend import Backend, to_host
from theorysim.model import Draw, TheorysimError
from theorysim.oracle import Oracle
from theorysim.registry import ALGORITHMS, algorithm, problem

STRICT = Backend("strict", array_api_strict, array_api_strict.Device("device1"))
every_case = pytest.mark.parametrize(("name", "params", "loop"), CASES, ids=[f"{i}-{case[0]}" for i, case in enumerate(CASES)])
every_algorithm = pytest.mark.parametrize(("name", "params", "_"), ALL, ids=[f"{i}-{case[0]}" for i, case in enumerate(ALL)])


@every_case
def test_equals_a_plain_loop(name, params, loop):
    mine, expected = iterates(DENSE, algorithm(name, **params)), by_loop(name, params, loop)
    assert mine.shape == (STEPS + 1, len(LRS) * RUNS, 5)
    np.testing.assert_allclose(mine, expected, rtol=0, atol=1e-10)


@every_case
def test_the_plain_loop_notices_steps_one_percent_too_long(name, params, loop):
    made, right = built(DENSE, algorithm(name, **params))

    def wrong(state, oracle):
        after = right.step(state, oracle)
        return after._replace(x=state.x + 1.01 * (after.x - state.x))

    mine = np.stack([state.x for state in walk(made, replace(right, step=wrong))])
    assert np.abs(mine - by_loop(name, params, loop)).max(axis=(0, 2)).min() > 1e-4


def test_frozen_never_moves_but_asks():
    made, method = built(DENSE, algorithm(FROZEN[0], **FROZEN[1]))
    states = walk(made, method, 3)
    assert all(np.array_equal(state.x, made.start) for state in states)
    assert np.all(states[-1].v > 0)


@pytest.mark.parametrize(
    ("name", "defaults"),
    [
        ("gradient_descent", {"lr": "1/lambda_max", "schedule": "constant"}),
        ("adagrad", {"lr": "D_inf_0/sqrt(2)", "eps": 0.0, "v0": 0.0}),
        ("adagrad_norm", {"lr": "D_2_0/sqrt(2)", "eps": 0.0, "v0": 0.0}),
        ("full_matrix_adagrad", {"lr": "D_2_0/sqrt(2)", "eps": 0.0}),
        ("faulty_adagrad", {"fault": "moving_average", "lr": "D_inf_0/sqrt(2)", "eps": 0.0, "v0": 0.0, "decay": 0.99}),
        ("nesterov", {"lr": "1/lambda_max"}),
        ("adam", {"lr": 1e-3, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "bias_correction": True}),
        ("rmsprop", {"lr": 1e-3, "decay": 0.9, "eps": 1e-8, "momentum": 0.0}),
    ],
)
def test_defaults_are_the_prescribed_steps(name, defaults):
    made, _ = built(DENSE, algorithm("sgd", lr=1.0))
    error, top = made.start - made.minimizer, np.linalg.eigvalsh(made.capabilities["hessian"]()).max()
    numbers = {"1/lambda_max": 1 / top, "D_inf_0/sqrt(2)": np.abs(error).max(axis=1) / 2**0.5}
    numbers["D_2_0/sqrt(2)"] = np.linalg.norm(error, axis=1) / 2**0.5
    mine = iterates(DENSE, algorithm(name, **({"fault": defaults["fault"]} if "fault" in defaults else {})))
    for run in range(RUNS):
        given = {k: float(np.broadcast_to(numbers[v], RUNS)[run]) if v in numbers else v for k, v in defaults.items()}
        np.testing.assert_allclose(mine[:, run], iterates(DENSE, algorithm(name, **given))[:, run], rtol=0, atol=1e-12)


def test_heavy_ball_default_is_the_optimal_pair():
    """The spectral radius of a step's 2x2 blocks is (sqrt(kappa)-1)/(sqrt(kappa)+1) for every eigenvalue (Polyak 1964)."""
    made, _ = built(DENSE, algorithm("heavy_ball"))
    eigenvalues = np.linalg.eigvalsh(made.capabilities["hessian"]())
    root = np.sqrt(eigenvalues[-1] / eigenvalues[0])
    given = algorithm("heavy_ball", lr=4 / eigenvalues[0] / (1 + root) ** 2, momentum=((root - 1) / (root + 1)) ** 2)
    np.testing.assert_allclose(iterates(DENSE, algorithm("heavy_ball")), iterates(DENSE, given), rtol=0, atol=1e-12)


# ------------------------------------------------------------------- batches, devices, purity
@every_algorithm
def test_variants_equal_runs_one_by_one_bit_for_bit(name, params, _):
    def one(value, i):
        if hasattr(value, "params"):
            return algorithm(value.name, **{k: one(v, i) for k, v in value.params})
        return value[i] if isinstance(value, list | tuple) else value

    mine = iterates(DIAGONAL, algorithm(name, **params))
    for i in range(len(LRS)):
        alone = iterates(DIAGONAL, algorithm(name, **{k: one(v, i) for k, v in params.items()}))
        np.testing.assert_array_equal(mine[:, i * RUNS : (i + 1) * RUNS], alone)


@every_algorithm
def test_another_namespace_on_a_device_gives_the_same(name, params, _):
    """The strict namespace refuses what is not in the standard, and every implicit copy from its device to the host."""
    spec = algorithm(name, **params)
    here, there = walk(*built(DENSE, spec)), walk(*built(DENSE, spec, STRICT))
    output = built(DENSE, spec)[1].output
    for mine, other in zip(here, there, strict=True):
        assert other.x.device == STRICT.device
        np.testing.assert_allclose(to_host(output(other)), output(mine), rtol=0, atol=1e-10)


@every_algorithm
def test_a_step_is_pure(name, params, _):
    made, method = built(DENSE, algorithm(name, **params))
    state = walk(made, method, 3)[-1]
    before = [np.array(part) for part in leaves(state)]
    oracle = Oracle(made)
    oracle.begin(4)
    first = leaves(method.step(state, oracle))
    oracle.begin(4)
    for one, two in zip(first, leaves(method.step(state, oracle)), strict=True):
        np.testing.assert_array_equal(one, two)
    for part, was in zip(leaves(state), before, strict=True):
        np.testing.assert_array_equal(part, was)


def leaves(state):
    return [leaf for part in state for leaf in (leaves(part) if isinstance(part, tuple) else [part])]


@every_algorithm
def test_zero_over_zero_counts_as_zero(name, params, _):
    """Coordinates whose gradient is always 0 stay where they are, and nothing becomes NaN."""
    spec = problem("anisotropic_quadratic", dim=5, start="sparse", support=2)
    zero_eps = {k: 0.0 if k == "eps" else v for k, v in params.items() if k not in ("v0", "box")}
    mine = iterates(spec, algorithm(name, **zero_eps))
    assert np.isfinite(mine).all()
    assert np.all(mine[:, :, 2:] == 0.0)
    assert np.all(mine[-1, :, :2] != 1.0) or params.get("fault") == "frozen"


# ------------------------------------------------------------------- exact references
TRIDIAGONAL = quadratic(np.array([[2.0, 1.0, 0.0], [1.0, 2.0, 1.0], [0.0, 1.0, 2.0]]), np.array([1.0, -0.4, 1.7]))
REFERENCES = {  # computed with 40 digits
    0.0: [
        [0.5, -0.9, 1.2],
        [0.4688108569224, -0.8737205834386, 0.9763932022500],
        [0.4488964561891, -0.7952779812065, 0.8232649342674],
        [0.4170133170095, -0.7137478637247, 0.7058436776166],
    ],
    0.1: [
        [0.5294117647059, -0.8750000000000, 1.2161290322581],
        [0.4756786947641, -0.8738852021577, 0.9923912648341],
        [0.4530575902337, -0.8046689446811, 0.8405450851795],
        [0.4234913506155, -0.7275197309499, 0.7241335376684],
    ],
}
FAULTS = ("no_root", "lagged", "moving_average_corrected", "eps_inside", "frozen")
LOOK_ALIKES = [("adagrad_norm", {}), ("faulty_adagrad", {"fault": "moving_average", "decay": 0.9})]
LOOK_ALIKES += [("faulty_adagrad", {"fault": fault}) for fault in FAULTS]


@pytest.mark.parametrize("eps", REFERENCES)
def test_adagrad_on_the_reference_trajectory(eps):
    mine = iterates(TRIDIAGONAL, algorithm("adagrad", lr=0.5, eps=eps), 4, runs=1)[1:, 0]
    np.testing.assert_allclose(mine, REFERENCES[eps], rtol=0, atol=1e-12)


@pytest.mark.parametrize("eps", REFERENCES)
@pytest.mark.parametrize(("name", "params"), LOOK_ALIKES)
def test_look_alikes_leave_the_reference_trajectory(name, params, eps):
    mine = iterates(TRIDIAGONAL, algorithm(name, lr=0.5, eps=eps, **params), 4, runs=1)[1:, 0]
    off = np.abs(mine - REFERENCES[eps]).max()
    assert off > 1e-4 if (params.get("fault"), eps) != ("eps_inside", 0.0) else off < 1e-12


def test_adagrad_steps_are_at_most_eta_and_the_first_is_eta():
    start = iterates(DENSE, algorithm("adagrad", lr=LRS))
    eta = np.repeat(LRS, RUNS)[:, None]
    assert np.all(np.abs(np.diff(start, axis=0)) <= eta * (1 + 1e-12))
    made, _ = built(DENSE, algorithm("adagrad", lr=LRS))
    np.testing.assert_allclose(start[1] - start[0], -eta * np.sign(made.sample(made.start, Draw(1))), rtol=1e-14)


def test_adagrad_on_a_constant_gradient_steps_like_one_over_root_t():
    slope = np.array([[0.3, -2.0, 1e-3, 7.0]])
    linear = replace(TRIDIAGONAL, shape=(4,), start=np.zeros((1, 4)), sample=lambda x, draw: slope + 0.0 * x)
    steps = np.diff(iterates(linear, algorithm("adagrad", lr=0.5), 200, runs=1)[:, 0], axis=0)
    expected = -0.5 * np.sign(slope) / np.sqrt(np.arange(1, 201))[:, None]
    np.testing.assert_allclose(steps, expected, rtol=1e-12)


# ------------------------------------------------------------------- the average, the full matrix, refusals
def test_average_is_the_running_mean_of_the_iterates_before_each_step():
    inner = algorithm("adagrad", lr=LRS, eps=[0.0, 0.1, 1.0])
    made, method = built(DENSE, algorithm("average", of=inner))
    outputs = np.stack([method.output(state) for state in walk(made, method)])
    alone = iterates(DENSE, inner)
    np.testing.assert_array_equal(outputs[0], alone[0])
    means = np.cumsum(alone[:-1], axis=0) / np.arange(1, STEPS + 1)[:, None, None]
    np.testing.assert_allclose(outputs[1:], means, rtol=0, atol=1e-14)


def test_average_leaves_the_iterates_alone_and_averages_them_even_around_an_average():
    once = algorithm("average", of=algorithm("sgd", lr=LRS))
    np.testing.assert_array_equal(iterates(DENSE, once), iterates(DENSE, algorithm("sgd", lr=LRS)))
    (made, one), (_, two) = built(DENSE, once), built(DENSE, algorithm("average", of=once))
    np.testing.assert_array_equal(one.output(walk(made, one)[-1]), two.output(walk(made, two)[-1]))


def test_average_requires_what_its_algorithm_requires():
    _, inner = built(DENSE, algorithm("sgd", lr=0.1))
    assert ALGORITHMS.get("average")(replace(inner, requires=("network",))).requires == ("network",)


def test_full_matrix_step_against_the_matrix_square_root():
    made, method = built(DENSE, algorithm("full_matrix_adagrad", lr=LRS, eps=0.1))
    *_, state, after = walk(made, method, 20)
    for row, eta in enumerate(np.repeat(LRS, RUNS)):
        g = made.sample(state.x, Draw(20))[row]
        before, total = ((each.root.U[row] * each.root.s[row] ** 2) @ each.root.U[row].T for each in (state, after))
        np.testing.assert_allclose(total - before, np.outer(g, g), rtol=0, atol=1e-13)
        direction = np.linalg.solve(scipy.linalg.sqrtm(total) + 0.1 * np.eye(5), g)
        np.testing.assert_allclose(state.x[row] - after.x[row], eta * direction, rtol=0, atol=1e-12)


def test_full_matrix_is_adagrad_in_one_dimension_and_norm_on_a_line():
    line = problem("anisotropic_quadratic", dim=1, noise=0.3, start="uniform", low=0.5)
    full, diagonal = (iterates(line, algorithm(name, lr=LRS, eps=0.1)) for name in ("full_matrix_adagrad", "adagrad"))
    np.testing.assert_allclose(full, diagonal, rtol=0, atol=1e-13)
    # Noise-free and isotropic: all gradients are multiples of the first, so G has rank one in every step.
    ray = problem("anisotropic_quadratic", dim=5, decay=0.0, start="uniform", low=0.5)
    full, scalar = (iterates(ray, algorithm(name, lr=LRS)) for name in ("full_matrix_adagrad", "adagrad_norm"))
    np.testing.assert_allclose(full, scalar, rtol=0, atol=1e-12)


def test_a_diverged_row_of_full_matrix_leaves_the_others_alone():
    """Squares of gradients are never formed, so only an answer that is not finite itself makes a row diverge."""
    spoiled = np.arange(2 * RUNS)[:, None] >= RUNS
    made, method = built(DIAGONAL, algorithm("full_matrix_adagrad", lr=[0.2, 0.2]))

    def sample(x, draw):
        return np.where(spoiled & (draw.step > 4), np.inf, made.sample(x, draw))

    mine = np.stack([state.x for state in walk(replace(made, sample=sample), method, 10)])
    np.testing.assert_array_equal(mine[:, :RUNS], iterates(DIAGONAL, algorithm("full_matrix_adagrad", lr=0.2), 10))
    assert np.isnan(mine[-1, RUNS:]).all() and np.isfinite(mine[4]).all()


@pytest.mark.parametrize(
    ("name", "params", "words"),
    [
        ("faulty_adagrad", {"fault": "no_rooot"}, "fault='no_rooot' is not allowed; choose one of no_root"),
        ("sgd", {"lr": 0.1, "schedule": "exponential"}, "schedule='exponential' is not allowed; choose one of constant"),
        ("gradient_descent", {"schedule": "linear"}, "schedule='linear'"),
        ("adam", {"bias_correction": [True, False]}, "bias_correction"),
    ],
)
def test_refused_options(name, params, words):
    with pytest.raises(TheorysimError, match=words):
        built(DENSE, algorithm(name, **params))


def test_sgd_needs_a_step_size():
    with pytest.raises(TheorysimError, match="sgd needs lr"):
        algorithm("sgd")


@pytest.mark.parametrize(
    "name",
    [
        *("gradient_descent", "sgd", "adagrad", "adagrad_norm", "heavy_ball", "nesterov", "adam", "full_matrix_adagrad"),
        *("rmsprop", "sign_sgd", "signum"),
    ],
)
def test_matrix_iterates_are_the_same_numbers_in_another_shape(name):
    def quadratic_of(shape):
        curvature = np.linspace(0.2, 2.0, 6).reshape(shape)
        start = np.linspace(-1.0, 1.3, 12).reshape(2, *shape)
        slopes = {"gradient": lambda x: curvature * x, "sample": lambda x, draw: curvature * x}
        return replace(TRIDIAGONAL, shape=shape, start=start, **slopes)

    params = {"lr": 0.1} | ({"momentum": 0.5} if name == "heavy_ball" else {})
    flat, table = (iterates(quadratic_of(shape), algorithm(name, **params), 10) for shape in [(6,), (2, 3)])
    np.testing.assert_allclose(table.reshape(flat.shape), flat, rtol=0, atol=1e-14)

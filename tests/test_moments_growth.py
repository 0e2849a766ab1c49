"""Expectations under noise that grows with the error, and of averages: full covariances, 50 digits and Monte Carlo."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import mpmath
import numpy as np
import pytest

import theorysim as ts
from theorysim.backend import CPU, Backend
from theorysim.build import build_algorithm, build_problem
from theorysim.model import Cell, GradientNoise, LinearMethod, Spec
from theorysim.moments import growth, run_exact
from theorysim.moments.setting import setting
from theorysim.noise import Draws
from theorysim.store import Store

Floats = np.ndarray[Any, Any]

ADDITIVE = ts.problem(
    "anisotropic_quadratic", dim=3, spectrum=[1.0, 0.3, 0.05], start=[1.0, -2.0, 1.5], noise=[0.6, 0.1, 0.3], rotation="random"
)
GAUSSIAN = ts.problem(
    "least_squares", data="gaussian", dim=3, spectrum=[1.0, 0.3, 0.05], start=[1.0, -2.0, 1.5], batch=3, label_noise=0.4
)
ROTATED = ts.problem("least_squares", **{**GAUSSIAN.arguments, "rotation": "random", "label_noise": 0.0})
DECOUPLED = ts.problem(
    "least_squares",
    data="decoupled",
    dim=3,
    spectrum=[1.0, 0.3, 0.05],
    start=[1.0, -2.0, 1.5],
    kurtosis=2.0,
    batch=2,
    label_noise=0.3,
)
NOISES = {"additive": ADDITIVE, "gaussian": GAUSSIAN, "interpolated": ROTATED, "decoupled": DECOUPLED}
METHODS = {
    "sgd": ts.algorithm("sgd", lr=0.3, schedule="inverse_sqrt"),
    "heavy ball": ts.algorithm("heavy_ball", lr=0.25, momentum=0.6, schedule="step_decay:2,4"),
    "library": ts.algorithm("heavy_ball", lr=0.25, momentum=0.6, schedule="step_decay:2,4", form="library"),
    "nesterov": ts.algorithm("nesterov", lr=0.15, momentum=0.5),
    "mass": ts.algorithm("mass", lr=0.15, alpha=0.25, kappa_tilde=3.0),
    "three sequences": ts.algorithm("mass_three_sequences", lr=0.15, alpha=0.25, delta=0.5),
    "triple momentum": ts.algorithm("triple_momentum", lr=0.2, rho=0.6),
    "average": ts.algorithm("average", of=ts.algorithm("heavy_ball", lr=0.2, momentum=0.4)),
}
PAIRS = [(method, noise) for method in METHODS for noise in NOISES]
every_pair = pytest.mark.parametrize(("method", "noise"), PAIRS, ids=["-".join(pair) for pair in PAIRS])


# ------------------------------------------------------------------------------------------------ the full covariance
def factors(method: LinearMethod, steps: int) -> list[float]:
    return [factor for factor, count in method.stages(steps) for _ in range(count)]


def scalar(value: Any) -> float:
    return float(np.asarray(value).ravel()[0])


def gradient_covariance(what: Spec, hessian: Floats, noise: GradientNoise) -> Callable[[Floats], Floats]:
    """Cov of a stochastic gradient where E e e' is given, with its off-diagonal entries where the data has them."""
    settings = what.arguments
    if what.name == "anisotropic_quadratic":
        return lambda second: np.diag(noise.additive)
    batch, sigma = settings["batch"], settings["label_noise"]
    if settings["data"] == "gaussian":  # Isserlis: E xx'A xx' = 2 HAH + tr(HA) H
        return lambda a: (hessian @ a @ hessian + (np.trace(hessian @ a) + sigma**2) * hessian) / batch
    c = 3 * settings["kurtosis"]
    lam = np.diag(hessian)

    def decoupled(a: Floats) -> Floats:
        one = np.diag(c * lam**2 * np.diag(a) + sigma**2 * lam)  # E h_i h_j e_i e_j = 0 off the diagonal
        return (one - hessian @ a @ hessian) / batch

    return decoupled


def full(what: Spec, method: LinearMethod, steps: int) -> Floats:
    """E f - f* by the (3 d x 3 d) second moments of (w, z, sum of w), step by step, off-diagonals and all."""
    draws = Draws(CPU, 0, np.zeros(1, dtype=np.int64))
    made = build_problem(what, draws)
    lam, turn, noise = (made.capabilities[name] for name in ("spectrum", "eigenbasis", "gradient_noise"))
    d, hessian, covariance = len(lam), np.diag(lam), gradient_covariance(what, np.diag(lam), noise)
    e, eye, zero = turn(made.start - made.minimizer)[0], np.eye(len(lam)), np.zeros((len(lam), len(lam)))
    state = np.zeros((3 * d, 3 * d))
    state[:d, :d] = np.outer(e, e)
    lr, momentum, ahead, output = (scalar(x) for x in (method.lr, method.momentum, method.look_ahead, method.output))
    kick = momentum * lr if method.kick is None else scalar(method.kick)
    gaps, before = [0.5 * np.trace(hessian @ state[:d, :d])], None
    for t, s in enumerate(factors(method, steps), start=1):
        if method.lr_outside and before is not None:
            rescale = np.kron(np.diag([1.0, s / before, 1.0]), eye)
            state = rescale @ state @ rescale
        before = s
        move = np.block(
            [
                [eye - s * lr * hessian, eye - s * lr * ahead * hessian, zero],
                [-s * kick * hessian, momentum * eye - s * kick * ahead * hessian, zero],
                [eye, zero, eye],
            ]
        )
        reach, push = np.hstack([eye, ahead * eye, zero]), np.vstack([s * lr * eye, s * kick * eye, zero])
        state = move @ state @ move.T + push @ covariance(reach @ state @ reach.T) @ push.T
        shown = np.hstack([zero, zero, eye / t]) if method.averaged else np.hstack([eye, output * eye, zero])
        gaps.append(0.5 * np.trace(hessian @ shown @ state @ shown.T))
    return np.array(gaps)


@every_pair
@pytest.mark.parametrize("walks", [True, False])
def test_expectations_are_those_of_the_full_covariance(
    method: str, noise: str, walks: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Step by step and by powers of the matrix."""
    monkeypatch.setattr(growth, "_walks", lambda one, noise, steps: walks)
    what, steps = NOISES[noise], [0, 1, 2, 3, 4, 5, 8, 9, 33, 60]
    draws = Draws(CPU, 0, np.zeros(1, dtype=np.int64))
    declared = build_algorithm(METHODS[method], build_problem(what, draws), draws).linear
    assert declared is not None
    expected = full(what, declared, 60)[steps]
    np.testing.assert_allclose(ts.expected_gap(what, METHODS[method], steps, device="cpu"), expected, rtol=1e-9)


@every_pair
def test_monte_carlo_tends_to_the_expectation(method: str, noise: str) -> None:
    runs, steps = 20_000, 9
    what = NOISES[noise]
    gaps = ts.run(what, METHODS[method], steps, runs=runs, record=(1, 4, steps), seed=7, device="cpu")["gap"]
    expected = ts.expected_gap(what, METHODS[method], [1, 4, steps], seed=7)
    error = gaps.std(axis=0, ddof=1) / math.sqrt(runs)
    assert (np.abs(gaps.mean(axis=0) - expected) <= 4 * error + 1e-13).all()  # the average is w_1 after one step
    assert (error <= 0.03 * expected).all()  # so four of them are some percent


# ------------------------------------------------------------------------------------------------ 50 digits
def decoupled_matrix(lam: Any, eta: Any, momentum: Any, kick: Any, c: Any) -> Any:
    """The map of (E w^2, E w u, E u^2) of a method that looks one momentum ahead, with E h = lam, E h^2 = c lam^2.

    w' = u - eta h u,  u' = w' + momentum (w' - w) + compensation h u, kick = momentum eta - compensation.
    """
    compensation = momentum * eta - kick
    slope, second = (1 + momentum) * eta - compensation, c * lam**2
    return mpmath.matrix(
        [
            [0, 0, 1 - 2 * eta * lam + eta**2 * second],
            [
                0,
                -momentum * (1 - eta * lam),
                (1 + momentum) - (slope + eta * (1 + momentum)) * lam + eta * slope * second,
            ],
            [
                momentum**2,
                -2 * momentum * ((1 + momentum) - slope * lam),
                (1 + momentum) ** 2 - 2 * (1 + momentum) * slope * lam + slope**2 * second,
            ],
        ]
    )


STIFF = (1e2, 1e6, 1e10)


def stiff(kappa: float) -> tuple[Spec, Spec]:
    return (
        ts.problem("least_squares", data="decoupled", dim=2, spectrum=[1.0, 1.0 / kappa], kurtosis=3.0, start=[1.0, 1.0]),
        ts.algorithm("mass"),
    )


@pytest.mark.parametrize("kappa", STIFF)
def test_the_decay_of_second_moments_agrees_with_fifty_digits(kappa: float) -> None:
    found = float(ts.exact_moments(*stiff(kappa), 0).decay)
    with mpmath.workdps(80):
        c, mu = mpmath.mpf(6), mpmath.mpf(1.0 / kappa)
        alpha = 1 / mpmath.sqrt(c / mu * c)
        eta, momentum = 1 / c, (1 - alpha) / (1 + alpha)
        kick = eta * (1 / c - alpha) / (1 + alpha)
        radius = max(
            abs(root) for lam in (mpmath.mpf(1), mu) for root in mpmath.eig(decoupled_matrix(lam, eta, momentum, kick, c))[0]
        )
        assert found == pytest.approx(float(1 - radius), rel=1e-8)


@pytest.mark.parametrize("kappa", STIFF)
def test_stiff_trajectories_agree_with_fifty_digits(kappa: float) -> None:
    steps = [1, 77, int(30 * math.sqrt(kappa))]
    what, method = stiff(kappa)
    found = ts.expected_gap(what, method, steps, device="cpu")
    with mpmath.workdps(60):
        c = mpmath.mpf(6)
        for step, value in zip(steps, found, strict=True):
            total = mpmath.mpf(0)
            alpha = 1 / mpmath.sqrt(c / mpmath.mpf(1.0 / kappa) * c)
            for lam in (mpmath.mpf(1), mpmath.mpf(1.0 / kappa)):
                eta, momentum = 1 / c, (1 - alpha) / (1 + alpha)
                matrix = decoupled_matrix(lam, eta, momentum, eta * (1 / c - alpha) / (1 + alpha), c)
                total += lam / 2 * (matrix**step * mpmath.matrix([1, 1, 1]))[0]
            assert value == pytest.approx(float(total), rel=1e-8), step


# ------------------------------------------------------------------------------------------------ what else is asked for
def test_the_floor_is_where_the_expectation_settles() -> None:
    for what in (ADDITIVE, GAUSSIAN, DECOUPLED):
        for name in ("heavy ball", "nesterov", "mass", "triple momentum"):
            method = ts.algorithm(METHODS[name].name, **{k: v for k, v in METHODS[name].arguments.items() if k != "schedule"})
            found = ts.exact_moments(what, method, 20_000, device="cpu")
            assert found.floor == pytest.approx(found.gap[0], rel=1e-10) and found.decay > 0
    wild = ts.exact_moments(GAUSSIAN, ts.algorithm("sgd", lr=[0.2, 2.5]), [0, 3000], device="cpu")
    assert wild.floor[1] == math.inf and wild.decay[1] < 0 < wild.decay[0] and wild.gap[1, 1] == math.inf


def test_decay_is_the_rate_at_which_the_expectation_falls() -> None:
    for what in (ROTATED, ts.problem("least_squares", **{**DECOUPLED.arguments, "label_noise": 0.0})):
        for name in ("heavy ball", "nesterov", "mass"):
            method = ts.algorithm(METHODS[name].name, **{k: v for k, v in METHODS[name].arguments.items() if k != "schedule"})
            found = ts.exact_moments(what, method, [3000, 3100], device="cpu")
            assert -math.log(found.gap[1] / found.gap[0]) / 100 == pytest.approx(-math.log1p(-float(found.decay)), rel=1e-6)


def test_equal_directions_are_one() -> None:
    """Whether the engine groups them or sees them a hair apart, and at a size that could not be held ungrouped."""
    method = ts.algorithm("mass")
    settings: dict[str, Any] = {"data": "gaussian", "batch": 2, "label_noise": 0.1}
    start = [1.0, 2.0, -1.0, 0.5, 3.0]
    same = ts.problem("least_squares", dim=5, spectrum=[1.0, 0.1, 0.1, 1.0, 0.1], start=start, **settings)
    apart = ts.problem("least_squares", dim=5, spectrum=[1.0, 0.1, 0.1 + 1e-14, 1.0, 0.1 - 1e-14], start=start, **settings)
    found = [ts.expected_gap(what, method, [0, 1, 50, 4000], device="cpu") for what in (same, apart)]
    np.testing.assert_allclose(found[0], found[1], rtol=1e-10)
    assert ts.exact_moments(same, method, 0).eigenvalues.shape == (2,)
    wide = ts.problem("least_squares", dim=3000, spectrum="two_value", head=1, kappa=1e4, data="gaussian")
    assert 0 < float(ts.exact_moments(wide, method, 10**6).decay) < 1


def test_covariances_and_contributions_add_up() -> None:
    found = ts.exact_moments(DECOUPLED, METHODS["mass"], [0, 5], device="cpu")
    np.testing.assert_allclose(found.gap, ts.expected_gap(DECOUPLED, METHODS["mass"], [0, 5], device="cpu"))
    np.testing.assert_allclose(found.contributions, found.eigenvalues / 2 * found.covariance[..., 0, 0], rtol=1e-14)
    assert found.covariance.shape == (2, 3, 2, 2) and (np.linalg.eigvalsh(found.covariance[1]) > 0).all()
    trace = ts.run(DECOUPLED, METHODS["mass"], 5, runs=20_000, measure=[f"coordinate:{j}" for j in range(3)], record="last")
    squares = [(trace[f"coordinate:{j}"][:, 1] ** 2).mean() for j in range(3)]
    np.testing.assert_allclose(found.covariance[1, :, 0, 0], squares, rtol=0.05)


def exact(what: Spec, method: Spec, measure: tuple[str, ...], steps: tuple[int, ...]) -> Any:
    return run_exact(Cell(what, method, steps[-1], 1, measure, steps, exact=True), CPU)


def test_measures_of_an_exact_cell() -> None:
    trace = exact(
        DECOUPLED, METHODS["mass"], ("gap", "gap_bias", "gap_variance", "square_distance", "ww:1", "wz:0", "zz:-1"), (0, 7)
    )
    found = ts.exact_moments(DECOUPLED, METHODS["mass"], [0, 7], device="cpu")
    lam, cov = found.eigenvalues, found.covariance
    np.testing.assert_allclose(trace["gap"][0], found.gap)
    np.testing.assert_allclose(trace["gap_bias"][0], found.bias.sum(axis=-1))
    np.testing.assert_allclose(trace["gap_variance"][0], found.variance.sum(axis=-1))
    np.testing.assert_allclose(trace["square_distance"][0], cov[..., 0, 0].sum(axis=-1))
    np.testing.assert_allclose(trace["ww:1"][0], 2 * found.gap)
    np.testing.assert_allclose(trace["wz:0"][0], cov[..., 0, 1].sum(axis=-1))
    np.testing.assert_allclose(trace["zz:-1"][0], (cov[..., 1, 1] / lam).sum(axis=-1))
    both = exact(DECOUPLED, ts.algorithm("sgd", lr=[0.1, 5.0]), ("decay", "floor", "gap"), (0, 2000))
    assert both["decay"].shape == (2, 2) and both["floor"][1, 0] == math.inf and list(both.status) == [-1, 0]
    assert list(both.parameters["lr"]) == [0.1, 5.0] and both.constant("L1").shape == (2,)


@pytest.mark.parametrize(
    ("cell", "words"),
    [
        (Cell(ADDITIVE, METHODS["sgd"], 3, measure=("max_distance",), exact=True), "no measure of an expectation named"),
        (Cell(ADDITIVE, METHODS["sgd"], 3, measure=("ww:x",), exact=True), "cannot be read; write ww:POWER"),
        (Cell(ADDITIVE, METHODS["sgd"], 3, runs=2, exact=True), "takes no runs and no until"),
        (Cell(ADDITIVE, ts.algorithm("adam"), 3, exact=True), "declares no linear transition"),
    ],
)
def test_refusals(cell: Cell, words: str) -> None:
    with pytest.raises(ts.TheorysimError, match=words):
        run_exact(cell, CPU)


def test_a_device_needs_the_array_standard_only(strict: Backend) -> None:
    for what in NOISES.values():
        for method in METHODS.values():
            found = ts.expected_gap(what, method, [6, 0], device=strict)
            np.testing.assert_allclose(found, ts.expected_gap(what, method, [6, 0], device="cpu"), rtol=1e-10)
    for what in (GAUSSIAN, DECOUPLED):  # by powers of the matrix
        asked = [0, 3000]
        found, here = (ts.exact_moments(what, METHODS["mass"], asked, device=device) for device in (strict, "cpu"))
        np.testing.assert_allclose(found.gap, here.gap, rtol=1e-10)
        np.testing.assert_allclose([found.decay, found.floor], [here.decay, here.floor], rtol=1e-10)


def test_the_start_and_the_variants_come_in_rows() -> None:
    one = ts.algorithm("mass", lr=[0.1, 0.2], alpha=[0.2, 0.3], kappa_tilde=[2.0, 4.0])
    case, _ = setting(GAUSSIAN, one, CPU, 0)
    assert case.error.shape == (2, 3) and case.grows
    found = ts.expected_gap(GAUSSIAN, one, [0, 9], device="cpu")
    for row, values in zip(found, zip(*(one.arguments[k] for k in ("lr", "alpha", "kappa_tilde")), strict=True), strict=True):
        single = ts.algorithm("mass", **dict(zip(("lr", "alpha", "kappa_tilde"), values, strict=True)))
        np.testing.assert_allclose(row, ts.expected_gap(GAUSSIAN, single, [0, 9], device="cpu"), rtol=1e-13)


def lab_cells() -> Iterator[Cell]:
    yield Cell(ADDITIVE, METHODS["sgd"], 5, 16)
    yield Cell(ADDITIVE, ts.algorithm("adam"), 5, 16)


def test_a_lab_prefers_expectations_where_it_can() -> None:
    from theorysim.lab import Lab

    told: list[Cell] = []
    linear, other = Lab(told=told.append).expected(lab_cells())
    assert linear.cell.exact and linear["gap"].shape == (1, len(linear.steps)) and not other.cell.exact and len(other.runs) == 16
    assert [cell.exact for cell in told] == [True, False]


def test_the_auxiliary_sequence_is_what_the_second_moments_say() -> None:
    """v = w + R (u - w), R = (1 + alpha)/alpha: E |v - w*|^2 from exact moments, and measured."""
    alpha = 0.25
    ratio, method = (1 + alpha) / alpha, METHODS["three sequences"]
    moments_of = exact(DECOUPLED, method, ("ww:0", "wz:0", "zz:0"), (6,))
    expected = moments_of["ww:0"] + 2 * ratio * moments_of["wz:0"] + ratio**2 * moments_of["zz:0"]
    trace = ts.run(DECOUPLED, method, 6, runs=20_000, measure="auxiliary_distance", record=(6,), device="cpu")
    squares = trace["auxiliary_distance"][:, 0] ** 2
    assert abs(squares.mean() - expected[0, 0]) <= 4 * squares.std() / math.sqrt(len(squares))
    with pytest.raises(ts.TheorysimError, match="reads auxiliary of the algorithm's state"):
        ts.run(DECOUPLED, METHODS["mass"], 1, measure="auxiliary_distance")


def test_a_finding_says_that_nothing_was_sampled(tmp_path: Path) -> None:
    found = ts.check("shb_anisotropic", ["momentum_wins_while_the_bias_decides"], device="cpu", store=Store(tmp_path))
    told = found.findings["momentum_wins_while_the_bias_decides"].details["expectations over noise"]
    assert re.fullmatch(r"computed exactly in (\d+) of \1 experiments, without sampling error", told)

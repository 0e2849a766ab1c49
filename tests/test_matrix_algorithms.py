"""Methods for matrices against plain loops written from their papers, against another implementation, and in known cases."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
import scipy.linalg
from plain_loops import built, iterates, walk

from theorysim.model import Draw, Problem, TheorysimError
from theorysim.registry import algorithm, problem

STEPS, RUNS = 20, 2
SHAPES = {"wide": (12, 20), "tall": (20, 12), "square": (7, 7)}
LRS = [0.05, 0.3]
by_shape = pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)


def noisy(m, n):
    """Curvature on both sides, turned on both sides, with noise."""
    right = np.linspace(0.4, 1.3, n).tolist()
    return problem("matrix_quadratic", m=m, n=n, rotation="random", right=right, turned="both", noise=0.3)


def quadratic(A, start, B=None):
    """f = tr(X'AXB)/2 from one start, without noise; one row."""
    A, start = np.asarray(A, dtype=float), np.asarray(start, dtype=float)
    B = np.eye(start.shape[1]) if B is None else B
    slopes = {"gradient": lambda x: A @ x @ B, "sample": lambda x, draw: A @ x @ B}
    return Problem(shape=start.shape, start=start[None], minimizer=0 * start, constants={}, gap=lambda x: x[:, 0, 0], **slopes)


# ------------------------------------------------------------------------------------------------ the loops
def power(V, p, eps=0.0):
    """(V^p + eps)^+ of a positive semidefinite matrix by its eigenvalues; below 1e-12 of the largest they are rounding here."""
    values, Q = np.linalg.eigh(V)
    kept = values > 1e-12 * values.max()
    return (Q[:, kept] / (values[kept] ** p + eps)) @ Q[:, kept].T


def loop_asgo(ask, W, lr, eps=0.0, side="left"):
    if side == "right":
        yield from (X.T for X in loop_asgo(lambda t, X: ask(t, X.T).T, W.T, lr, eps))
    V = np.zeros((len(W), len(W)))
    for t in itertools.count(1):
        G = ask(t, W)
        V = V + G @ G.T
        W = W - lr * power(V, 0.5, eps) @ G
        yield W


def loop_one_sided_shampoo(ask, W, lr, eps=0.0, side="left"):
    if side == "right":
        yield from (X.T for X in loop_one_sided_shampoo(lambda t, X: ask(t, X.T).T, W.T, lr, eps))
    V = eps**2 * np.eye(len(W))
    for t in itertools.count(1):
        G = ask(t, W)
        V = V + G @ G.T
        W = W - lr * (np.linalg.solve(scipy.linalg.sqrtm(V), G) if eps else power(V, 0.5) @ G)
        yield W


def loop_dasgo(ask, W, lr, eps=0.0, along="rows"):
    if along == "columns":
        yield from (X.T for X in loop_dasgo(lambda t, X: ask(t, X.T).T, W.T, lr, eps))
    total = [0.0] * len(W)
    for t in itertools.count(1):
        G = ask(t, W)
        total = [v + float(row @ row) for v, row in zip(total, G, strict=True)]
        W = np.stack([w - lr * row / (v**0.5 + eps) for w, row, v in zip(W, G, total, strict=True)])
        yield W


def loop_full_matrix_adagrad(ask, W, lr, eps=0.0):
    gradients = []
    for t in itertools.count(1):
        gradients.append(ask(t, W).ravel())
        _, s, axes = np.linalg.svd(np.array(gradients), full_matrices=False)
        W = W - lr * (axes.T @ (axes @ gradients[-1] / (s + eps))).reshape(W.shape)
        yield W


def loop_shampoo(ask, W, lr, eps=0.0, exponent=0.25, decay=None, momentum=0.0, grafting=None, weight_decay=0.0, ridge=0.0):
    m, n = W.shape
    L, R, M, v = eps * np.eye(m), eps * np.eye(n), np.zeros((m, n)), np.zeros((m, n))

    def inverse(V):
        if not (eps or ridge):
            return power(V, exponent)
        root = scipy.linalg.sqrtm(V)
        return np.linalg.inv({0.25: scipy.linalg.sqrtm(root), 0.5: root}[exponent])

    for t in itertools.count(1):
        G = ask(t, W)
        a, b = (1.0, 1.0) if decay is None else (decay, 1 - decay)
        L, R, v = a * L + b * G @ G.T, a * R + b * G.T @ G, a * v + b * G**2
        M = momentum * M + (1 - momentum) * G
        U = inverse(L + ridge * np.eye(m)) @ M @ inverse(R + ridge * np.eye(n))
        length = {"sgd": M, "adam": M / np.sqrt(v + 1e-10)}.get(grafting, U)
        W = (1 - lr * weight_decay) * W
        W = W - lr * U * np.linalg.norm(length) / np.linalg.norm(U)
        yield W


TWO_EPS = [0.0, 0.2]
CASES = [
    ("asgo", {"lr": LRS}),
    ("asgo", {"lr": LRS, "side": "right"}),
    ("asgo", {"lr": LRS, "eps": TWO_EPS}),
    ("asgo", {"lr": LRS, "eps": TWO_EPS, "side": "right"}),
    ("one_sided_shampoo", {"lr": LRS}),
    ("one_sided_shampoo", {"lr": LRS, "eps": TWO_EPS}),
    ("one_sided_shampoo", {"lr": LRS, "eps": 0.2, "side": "right"}),
    ("dasgo", {"lr": LRS}),
    ("dasgo", {"lr": LRS, "eps": TWO_EPS}),
    ("dasgo", {"lr": LRS, "eps": TWO_EPS, "along": "columns"}),
    ("shampoo", {"lr": LRS}),
    ("shampoo", {"lr": LRS, "eps": [0.01, 1.0]}),
    ("shampoo", {"lr": LRS, "eps": 0.1, "exponent": 0.5}),
    ("shampoo", {"lr": LRS, "ridge": [1e-3, 0.1], "decay": [0.0, 0.9], "momentum": [0.9, 0.3]}),
    ("shampoo", {"lr": LRS, "eps": 0.1, "grafting": "sgd", "momentum": 0.5, "weight_decay": [0.1, 0.0]}),
    ("shampoo", {"lr": LRS, "ridge": 1e-4, "decay": 0.9, "momentum": 0.9, "grafting": "adam", "weight_decay": 0.1}),
    ("shampoo", {"lr": LRS, "eps": 0.1, "grafting": "adam"}),
]
LOOPS = {"asgo": loop_asgo, "one_sided_shampoo": loop_one_sided_shampoo, "dasgo": loop_dasgo, "shampoo": loop_shampoo}
LOOPS["full_matrix_adagrad"] = loop_full_matrix_adagrad


def by_loop(of, name, params, loop, steps=STEPS):
    """``(steps + 1, rows, m, n)`` from the Hessian, the noise table and the formula."""
    made, _ = built(of, algorithm(name, **params))
    hessian, shape = made.capabilities["hessian"](), made.shape
    noise = np.stack([made.sample(made.minimizer, Draw(t)) for t in range(1, steps + 1)])
    rows = []
    for row, start in enumerate(made.start):
        of_row = {k: value[row // RUNS] if isinstance(value, list) else value for k, value in params.items()}

        def ask(t, W, row=row):
            return (hessian @ W.ravel()).reshape(shape) + noise[t - 1, row]

        rows.append([start, *itertools.islice(loop(ask, start, **of_row), steps)])
    return np.moveaxis(np.array(rows), 0, 1)


@by_shape
@pytest.mark.parametrize(("name", "params"), CASES, ids=[f"{i}-{name}" for i, (name, _) in enumerate(CASES)])
def test_equals_a_plain_loop(name, params, shape):
    """Measured 4e-15; the loop's roots are known to 1e-16 times the condition of V, which noise keeps below 1e4."""
    mine, expected = iterates(noisy(*shape), algorithm(name, **params), STEPS), by_loop(noisy(*shape), name, params, LOOPS[name])
    assert mine.shape == (STEPS + 1, len(LRS) * RUNS, *shape)
    np.testing.assert_allclose(mine, expected, rtol=0, atol=1e-12)
    assert np.abs(np.diff(mine, axis=0)).max(axis=(0, 2, 3)).min() > 1e-3


@pytest.mark.parametrize("shape", [(3, 5), (5, 3), (4, 4)])
@pytest.mark.parametrize("eps", [0.0, TWO_EPS])
def test_full_matrix_adagrad_takes_a_matrix_for_its_entries(shape, eps):
    params = {"lr": LRS, "eps": eps}
    expected = by_loop(noisy(*shape), "full_matrix_adagrad", params, loop_full_matrix_adagrad)
    np.testing.assert_allclose(iterates(noisy(*shape), algorithm("full_matrix_adagrad", **params), STEPS), expected, atol=1e-10)


# ------------------------------------------------------------------------------------------------ SOAP
def loop_soap(ask, W, Q, Z, lr, frequency, refresh, beta1=0.9, beta2=0.8, eps=0.05, bias_correction=True, weight_decay=0.0):
    """From given first bases: where G_1 has a null space they are not unique."""
    L = R = M = V = 0.0
    for t in itertools.count(1):
        G = ask(t, W)
        M, V = beta1 * M + (1 - beta1) * G, beta2 * V + (1 - beta2) * (Q.T @ G @ Z) ** 2
        one, two = (1 - beta1**t, 1 - beta2**t) if bias_correction else (1.0, 1.0)
        N = (Q.T @ (M / one) @ Z) / (np.sqrt(V / two) + eps)
        W = W - lr * weight_decay * W - lr * Q @ N @ Z.T
        L, R = beta2 * L + (1 - beta2) * G @ G.T, beta2 * R + (1 - beta2) * G.T @ G
        if t % frequency == 0 and refresh == "qr":
            Q, Z = scipy.linalg.qr(L @ Q)[0], scipy.linalg.qr(R @ Z)[0]
        if t % frequency == 0 and refresh == "eigh":
            Q, Z = scipy.linalg.svd(L)[0], scipy.linalg.svd(R)[0]
        yield W


SOAPS = [
    {"frequency": 3, "refresh": "qr"},
    {"frequency": 2, "refresh": "eigh", "bias_correction": False, "weight_decay": 0.1},
    {"frequency": 100, "refresh": "qr", "beta1": 0.0},
]


@by_shape
@pytest.mark.parametrize("settings", SOAPS)
def test_soap_equals_a_plain_loop(settings, shape):
    """Within 1e-10: eps is far above the rounding in entries that are zero in the basis, as all off the diagonal are at first."""
    settings = {"lr": 0.05, "beta1": 0.9, "beta2": 0.8, "eps": 0.05} | settings
    made, method = built(noisy(*shape), algorithm("soap", **settings))
    states = walk(made, method, STEPS)
    mine, bases = np.stack([state.x for state in states]), [states[1].left.Q, states[1].right.Q]
    for row in range(RUNS):
        G = made.sample(made.start, Draw(1))[row]
        for product, side in zip((G @ G.T, G.T @ G), bases, strict=True):
            seen = side[row].T @ product @ side[row]
            np.testing.assert_allclose(side[row].T @ side[row], np.eye(len(product)), atol=1e-13)
            np.testing.assert_allclose(seen, np.diag(np.linalg.eigvalsh(product)[::-1]), atol=1e-13)

        def ask(t, W, row=row):
            return made.sample(np.broadcast_to(W, made.start.shape), Draw(t))[row]

        loop = loop_soap(ask, made.start[row], bases[0][row], bases[1][row], **settings)
        expected = np.stack(list(itertools.islice(loop, STEPS)))
        np.testing.assert_allclose(mine[1:, row], expected, rtol=0, atol=1e-10)


def test_soap_is_adam_where_the_basis_is_that_of_the_entries():
    """With A and X_1 diagonal and distinct, all gradients are, and rotating changes nothing."""
    diagonal = quadratic(np.diag([3.0, 2.0, 1.0]), np.diag([1.0, -0.8, 0.7]))
    params = {"lr": 0.05, "beta1": 0.9, "beta2": 0.95, "eps": 1e-3}
    mine, adam = (iterates(diagonal, algorithm(name, **params), 30, runs=1) for name in ("soap", "adam"))
    np.testing.assert_allclose(mine, adam, rtol=0, atol=1e-13)


# ------------------------------------------------------------------------------------------------ another implementation
DISTRIBUTED = {  # W_7 by Google's distributed_shampoo (package precondition-opt 0.3.0: roots in float64, iterates in float32)
    "sum": ({}, [[0.6624438, -0.4448629], [0.1338266, 0.4167141], [-0.5290076, -0.0168107]]),
    "averages": ({"decay": 0.95}, [[0.0524239, -0.1286401], [0.0086038, 0.0812387], [-0.0389977, -0.0074704]]),
    "sgd": ({"grafting": "sgd"}, [[0.2572067, -0.2263242], [0.0354038, 0.1150623], [-0.1970812, 0.0278519]]),
    "adam": (
        {"grafting": "adam", "decay": 0.95},
        [[0.0128359, -0.02963], [0.0249054, 0.0260983], [0.02284, -0.0106573]],
    ),
}


@pytest.mark.parametrize("case", DISTRIBUTED)
def test_shampoo_on_the_trajectory_of_distributed_shampoo(case):
    """With matrix_epsilon 1e-3 it starts its sums at 1e-3 I and adds 1e-3 I once more before each root."""
    settings, expected = DISTRIBUTED[case]
    A, start = [[2.0, 1.0, 0.0], [1.0, 2.0, 1.0], [0.0, 1.0, 2.0]], [[1.0, -0.5], [0.25, 0.75], [-0.75, 0.125]]
    spec = algorithm("shampoo", lr=0.125, eps=1e-3, ridge=1e-3, **settings)
    mine = iterates(quadratic(A, start, np.diag([1.0, 0.25])), spec, 6, runs=1)[-1, 0]
    np.testing.assert_allclose(mine, expected, rtol=0, atol=1e-6)


# ------------------------------------------------------------------------------------------------ known cases
def orthogonal(size, seed):
    return np.linalg.qr(np.random.default_rng(seed).standard_normal((size, size)))[0]


TRAJECTORIES = {
    0.0: [(0.2, -0.3), (0.054478624978, 0.124264068712), (0.014925824779, -0.044386713917)],
    0.1: [(0.235294117647, -0.06), (0.075571355020, 0.011154517712), (0.024469450830, -0.002068408369)],
}
OTHERS = [("muon", {"length": "nuclear"}), ("shampoo", {"exponent": 0.125}), ("dasgo", {}), ("adagrad", {})]


def on_singular_values(name, eps, **params):
    P, Q = orthogonal(2, 1), orthogonal(2, 2)
    known = {} if name == "muon" else {"eps": eps}
    spec = algorithm(name, lr=0.6, **known, **params)
    path = iterates(quadratic(P @ np.diag([2.0, 0.5]) @ P.T, P @ np.diag([0.8, 0.3]) @ Q), spec, 3, runs=1)[1:, 0]
    return P.T @ path @ Q.T


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("eps", TRAJECTORIES)
def test_asgo_on_the_fixed_trajectory(eps, side):
    """A and X_1 share their axes, so each side sees the same singular values; a lagged V, another power or no sum does not."""
    mine = on_singular_values("asgo", eps, side=side)
    np.testing.assert_allclose(mine, [np.diag(x) for x in TRAJECTORIES[eps]], rtol=0, atol=1e-10)


def test_shampoo_takes_the_same_trajectory_with_a_fourth_root_on_each_side():
    np.testing.assert_allclose(on_singular_values("shampoo", 0.0), [np.diag(x) for x in TRAJECTORIES[0.0]], rtol=0, atol=1e-10)


@pytest.mark.parametrize(("name", "params"), OTHERS, ids=[name for name, _ in OTHERS])
def test_other_methods_leave_the_fixed_trajectory(name, params):
    assert np.abs(on_singular_values(name, 0.0, **params) - [np.diag(x) for x in TRAJECTORIES[0.0]]).max() > 1e-2


@pytest.mark.parametrize("name", ["asgo", "one_sided_shampoo"])
def test_a_direction_with_gradients_of_1e_8_moves_like_the_others(name):
    """An eigenvalue of V near 1e-16 of the largest is rounding: methods that form V leave the second row at 1 for ever."""
    mine = iterates(quadratic(np.diag([1.0, 1e-8]), np.eye(2)), algorithm(name, lr=0.7), 40, runs=1)[:, 0]
    x, total = 1.0, 0.0
    for W in mine:  # with eps = 0 the curvature drops out: both rows follow AdaGrad on x^2/2
        np.testing.assert_allclose(W, x * np.eye(2), rtol=0, atol=1e-14)
        total += x * x
        x -= 0.7 * x / total**0.5
    assert abs(mine[-1, 1, 1]) == pytest.approx(7e-20, rel=0.1)


@pytest.mark.parametrize("p", [1, 2, 3, 4])
def test_the_first_step_of_asgo_is_along_the_polar_factor(p):
    """The polar factor moves by up to 1/sigma_min per unit of the gradient, so rounding of it by 1e-16 times its condition."""
    rng = np.random.default_rng(p)
    A = np.diag(np.arange(1.0, 33) ** -p)
    made = quadratic(A, rng.standard_normal((32, 32)) / (2 * 32**0.5))
    first = iterates(made, algorithm("asgo", lr=0.7), 1, runs=1)[1, 0]
    G = made.gradient(made.start)[0]
    assert np.abs(first - (made.start[0] - 0.7 * scipy.linalg.polar(G)[0])).max() < 2.2e-16 * np.linalg.cond(G)


@pytest.mark.parametrize("name", ["shampoo", "soap", "full_matrix_adagrad"])
def test_turning_the_problem_turns_the_path(name):
    """For 8 steps: full-matrix AdaGrad multiplies rounding by about 7 a step here, as a start moved by 1e-13 shows."""
    P, Q, A = orthogonal(7, 1), orthogonal(7, 2), np.diag(1 / np.arange(1.0, 8))
    start = np.random.default_rng(0).standard_normal((7, 7)) / 5
    spec = algorithm(name, lr=0.1, eps=0.01)
    plain, turned = (iterates(quadratic(*each), spec, 8, runs=1)[:, 0] for each in [(A, start), (P @ A @ P.T, P @ start @ Q)])
    np.testing.assert_allclose(P @ plain @ Q, turned, rtol=0, atol=1e-10)


@pytest.mark.parametrize("name", ["asgo", "shampoo"])
def test_directions_that_no_gradient_has_stay_where_they_are(name):
    """A rank-one start without noise: all gradients share one row space, and rounding must not fill the rest."""
    u, v = np.linspace(0.3, 1.0, 5), np.array([0.6, -0.8, 0.0, 0.0, 0.0, 0.0])
    mine = iterates(quadratic(np.diag([1.0, 0.8, 0.6, 0.4, 0.2]), np.outer(u, v)), algorithm(name, lr=0.3), 50, runs=1)[:, 0]
    np.testing.assert_allclose(mine @ (np.eye(6) - np.outer(v, v)), 0.0, atol=1e-12)
    assert np.abs(mine[-1] - mine[0]).max() > 0.1


def test_a_row_that_is_not_finite_leaves_the_others_alone():
    spoiled = np.arange(2 * RUNS)[:, None, None] >= RUNS
    for name in ("shampoo", "soap"):
        made, method = built(noisy(3, 5), algorithm(name, lr=[0.1, 0.1]))

        def sample(x, draw, made=made):
            return np.where(spoiled & (draw.step > 2), np.nan, made.sample(x, draw))

        mine = np.stack([state.x for state in walk(replace(made, sample=sample), method, 6)])
        np.testing.assert_array_equal(mine[:, :RUNS], iterates(noisy(3, 5), algorithm(name, lr=0.1), 6))
        assert np.isnan(mine[-1, RUNS:]).all()


# ------------------------------------------------------------------------------------------------ vector methods
OF_VECTORS = [
    ("adagrad", {"lr": LRS, "eps": TWO_EPS, "v0": [0.1, 0.0], "box": [0.4, 2.0]}),
    ("adagrad_norm", {"lr": LRS, "eps": TWO_EPS, "v0": [0.1, 0.0], "box": [0.4, 2.0]}),
    ("adam", {"lr": LRS, "beta1": [0.5, 0.9]}),
    ("sgd", {"lr": LRS, "schedule": "inverse_sqrt"}),
    ("gradient_descent", {"lr": LRS}),
    ("heavy_ball", {"lr": LRS, "momentum": [0.3, 0.8]}),
    ("nesterov", {"lr": LRS}),
    ("full_matrix_adagrad", {"lr": LRS, "eps": TWO_EPS}),
]


@pytest.mark.parametrize(("name", "params"), OF_VECTORS, ids=[name for name, _ in OF_VECTORS])
@pytest.mark.parametrize("shape", [(3, 5), (5, 3)])
def test_vector_methods_work_entry_by_entry(name, params, shape):
    made, _ = built(noisy(*shape), algorithm(name, **params))
    flat = replace(
        made,
        shape=(15,),
        start=made.start.reshape(-1, 15),
        minimizer=made.minimizer.reshape(-1, 15),
        gradient=lambda x: made.gradient(x.reshape(-1, *shape)).reshape(-1, 15),
        sample=lambda x, draw: made.sample(x.reshape(-1, *shape), draw).reshape(-1, 15),
    )
    table, vector = (iterates(each, algorithm(name, **params), STEPS) for each in (made, flat))
    np.testing.assert_allclose(table.reshape(vector.shape), vector, rtol=0, atol=1e-14)
    assert np.abs(np.diff(table, axis=0)).max() > 1e-3


# ------------------------------------------------------------------------------------------------ defaults and refusals
def test_the_default_step_of_shampoo_is_that_of_its_bound():
    made, _ = built(noisy(3, 5), algorithm("shampoo"))
    mine = iterates(noisy(3, 5), algorithm("shampoo"), 5)
    for run in range(RUNS):
        lr = float(np.linalg.norm(made.start[run]) / (2 * 3) ** 0.5)
        np.testing.assert_allclose(mine[:, run], iterates(noisy(3, 5), algorithm("shampoo", lr=lr), 5)[:, run], atol=1e-14)


@pytest.mark.parametrize(
    ("name", "params", "words"),
    [
        ("shampoo", {"grafting": "adagrad"}, "grafting='adagrad' is not allowed; choose one of None, sgd, adam"),
        ("shampoo", {"exponent": 0.0}, "exponent=0.0 is not allowed; give a number above 0"),
        ("soap", {"frequency": 0}, "frequency=0 is not allowed"),
        ("soap", {"refresh": "svd"}, "refresh='svd' is not allowed; choose one of qr, eigh"),
        ("soap", {"bias_correction": 2}, "bias_correction"),
    ],
)
def test_refused_options(name, params, words):
    with pytest.raises(TheorysimError, match=words):
        built(noisy(3, 5), algorithm(name, **params))


@pytest.mark.parametrize("name", ["shampoo", "soap"])
def test_vectors_are_refused(name):
    _, method = built(noisy(3, 5), algorithm(name))
    with pytest.raises(TheorysimError, match=rf"{name} needs matrices, not iterates of shape \(4,\)"):
        method.init(None, np.ones((2, 4)))

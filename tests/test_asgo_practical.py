"""The practical methods against loops written from what the authors' code does, Muon also against optax."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from plain_loops import built, iterates, walk

from theorysim.model import Draw, Problem, TheorysimError
from theorysim.registry import algorithm, problem

STEPS, RUNS, ROOTS = 25, 2, ("polar_express", "coupled_newton", "newton_schulz", "eigh")
SHAPES = [(12, 20), (20, 12), (12, 12)]
every_shape = pytest.mark.parametrize("shape", SHAPES, ids=str)


def noisy(shape):
    m, n = shape
    return problem("matrix_quadratic", m=m, n=n, rotation="random", noise=0.3)


def by_loop(shape, loop, **options):
    """``(STEPS + 1, RUNS, m, n)``, from the gradient and noise of the problem and a loop over one run, (W, gradients) -> W's."""
    made, _ = built(noisy(shape), algorithm("sgd", lr=0.1), runs=RUNS)
    paths = []
    for row in range(RUNS):

        def ask(t, w, row=row):
            return made.sample(np.stack([w] * RUNS), Draw(t))[row]

        paths.append(loop(ask, made.start[row], **options))
    return np.stack(paths, axis=1)


def compare(shape, name, options, loop, atol=1e-10, **of_loop):
    mine = iterates(noisy(shape), algorithm(name, **options), STEPS, runs=RUNS)
    expected = by_loop(shape, loop, **of_loop)
    assert np.abs(expected[-1] - expected[0]).max() > 0.1
    np.testing.assert_allclose(mine, expected, rtol=0, atol=atol)
    return mine


# ------------------------------------------------------------------------------------------------ the loops
QUINTICS = """
8.28721201814563 -23.595886519098837 17.300387312530933
4.107059111542203 -2.9478499167379106 0.5448431082926601
3.9486908534822946 -2.908902115962949 0.5518191394370137
3.3184196573706015 -2.488488024314874 0.51004894012372
2.300652019954817 -1.6689039845747493 0.4188073119525673
1.891301407787398 -1.2679958271945868 0.37680408948524835
1.8750014808534479 -1.2500016453999487 0.3750001645474248
1.875 -1.25 0.375
"""


def ten_quintics(p):
    table = [[float(x) for x in line.split()] for line in QUINTICS.split("\n") if line]
    nu = 1.01 * np.linalg.norm(p + 1e-10 * np.eye(len(p)))
    y, z = p / nu, np.eye(len(p))
    for i in range(10):
        a, b, c = table[min(i, 7)]
        if i < 7:
            a, b, c = a / 1.01, b / 1.01**3, c / 1.01**5
        k = z @ y
        h = b * k + c * (k @ k)
        y, z = a * y + y @ h, a * z + h @ z
    return z / math.sqrt(nu)


def by_svd(p):
    u, s, _ = np.linalg.svd(p)
    return (u[:, s > 1e-13 * s[0]] / np.sqrt(s[s > 1e-13 * s[0]])) @ u[:, s > 1e-13 * s[0]].T


def loop_asgo(
    ask, w, lr, b1=0.9, b2=0.8, side="smaller", root=ten_quintics, tau=1, fixed=True, wd=0.0, clip=math.inf, factors=None
):
    rows, columns = w.shape
    left = side == "left" or (side == "smaller" and rows < columns)
    m, p, path = np.zeros_like(w), np.zeros((rows, rows) if left else (columns, columns)), [w]
    for t in range(1, STEPS + 1):
        g = ask(t, w)
        g = g * min(1.0, clip / np.linalg.norm(g))
        m = b1 * m + (1 - b1) * g
        p = b2 * p + (1 - b2) * (g @ g.T if left else g.T @ g)
        if (t - 1) % tau == 0:
            inverse = root(p)
        update = inverse @ m if left else m @ inverse
        if fixed:
            update = update * 0.2 * math.sqrt(rows * columns) / np.linalg.norm(update)
        step = lr * (factors[t - 1] if factors else 1.0)
        w = w * (1 - step * wd)
        w = w - step * update
        path.append(w)
    return np.stack(path)


def loop_dasgo(ask, w, lr, wd=0.0, b1=0.9, b2=0.95):
    m, p, path = np.zeros_like(w), np.zeros(w.shape[1]), [w]
    for t in range(1, STEPS + 1):
        g = ask(t, w)
        m = b1 * m + (1 - b1) * g
        p = b2 * p + (1 - b2) * (g**2).sum(axis=0)
        update = m * (p + 1e-8) ** -0.5
        w = w - lr * wd * w - lr * update * 0.2 * math.sqrt(w.size) / np.linalg.norm(update)
        path.append(w)
    return np.stack(path)


def five_steps(m):
    x = m.T if m.shape[0] > m.shape[1] else m
    x = x / np.linalg.norm(x)
    for _ in range(5):
        k = x @ x.T
        x = 3.4445 * x + (-4.7750 * k + 2.0315 * k @ k) @ x
    return x.T if m.shape[0] > m.shape[1] else x


def exact_polar(m):
    u, _, zt = np.linalg.svd(m, full_matrices=False)
    return u @ zt


def loop_muon(ask, w, lr, b=0.9, polar=exact_polar, nesterov=False, scale=lambda m: 1.0, wd=0.0):
    m, path = np.zeros_like(w), [w]
    for t in range(1, STEPS + 1):
        g = ask(t, w)
        m = b * m + (1 - b) * g
        d = b * m + (1 - b) * g if nesterov else m
        w = w - lr * wd * w - lr * scale(d) * polar(d)
        path.append(w)
    return np.stack(path)


# ------------------------------------------------------------------------------------------------ ASGO
@every_shape
def test_asgo_as_coded(shape):
    compare(shape, "asgo_practical", {"lr": 0.05}, loop_asgo, lr=0.05)


@every_shape
def test_asgo_with_all_that_a_training_run_adds(shape):
    factors = [t / 5 for t in range(1, 6)] + [0.02 + 0.98 * (1 + math.cos(math.pi * t / 45)) / 2 for t in range(1, 21)]
    options = {"lr": 0.1, "weight_decay": 0.1, "clip": 1.0, "schedule": "cosine:50,0.1,0.02"}
    compare(shape, "asgo_practical", options, loop_asgo, lr=0.1, wd=0.1, clip=1.0, factors=factors)


@every_shape
@pytest.mark.parametrize("side", ["left", "right"])
def test_asgo_of_either_side_with_an_exact_root(side, shape):
    """Rank-deficient at first on the larger side, where the root is the pseudo-inverse."""
    options = {"lr": 0.05, "side": side, "root": "eigh", "momentum": 0.5, "decay": 0.9}
    compare(shape, "asgo_practical", options, loop_asgo, 1e-8, lr=0.05, side=side, root=by_svd, b1=0.5, b2=0.9)


@every_shape
@pytest.mark.parametrize("root", ["coupled_newton", "newton_schulz"])
def test_asgo_with_checked_iterations_is_asgo_with_the_exact_root(root, shape):
    compare(shape, "asgo_practical", {"lr": 0.05, "root": root}, loop_asgo, 1e-6, lr=0.05, root=by_svd)


@every_shape
def test_asgo_that_keeps_its_root_for_some_steps(shape):
    mine = compare(shape, "asgo_practical", {"lr": 0.05, "tau": 4}, loop_asgo, lr=0.05, tau=4)
    assert np.abs(mine - iterates(noisy(shape), algorithm("asgo_practical", lr=0.05), STEPS, runs=RUNS)).max() > 1e-3


@every_shape
def test_asgo_of_free_length(shape):
    compare(shape, "asgo_practical", {"lr": 0.05, "normalize": False}, loop_asgo, lr=0.05, fixed=False)


@every_shape
def test_every_step_has_the_same_length_whatever_the_gradient(shape):
    for name in ("asgo_practical", "dasgo_practical"):
        path = iterates(noisy(shape), algorithm(name, lr=[0.05, 0.2]), STEPS, runs=RUNS)
        lengths = np.linalg.norm(np.diff(path, axis=0), axis=(2, 3))
        expected = np.repeat([0.05, 0.2], RUNS) * 0.2 * math.sqrt(math.prod(shape))
        np.testing.assert_allclose(lengths, np.broadcast_to(expected, lengths.shape), rtol=1e-12)


def linear(gradients: Any) -> Problem:
    """A function whose gradient at step t is ``gradients[t - 1]``, (rows, m, n), wherever it is asked for."""
    shape = gradients[0].shape
    return Problem(
        shape=shape[1:],
        start=np.ones(shape),
        minimizer=None,
        constants={},
        gap=lambda x: np.zeros(len(x)),
        gradient=lambda x: gradients[0],
        sample=lambda x, draw: gradients[draw.step - 1],
    )


@pytest.mark.parametrize("root", ROOTS)
def test_no_gradient_no_step_but_decay(root):
    rng = np.random.default_rng(0)
    nothing = np.zeros((2, 3, 5))
    one = nothing.copy()
    one[1] = rng.standard_normal((3, 5))
    made, method = built(linear([nothing, one]), algorithm("asgo_practical", lr=0.5, weight_decay=0.1, root=root))
    with np.errstate(all="ignore"):
        _, first, second = walk(made, method, 2)
    np.testing.assert_array_equal(first.x, 0.95)
    np.testing.assert_array_equal(second.x[0], 0.95**2)
    np.testing.assert_allclose(np.linalg.norm(second.x[1] - 0.95**2), 0.5 * 0.2 * math.sqrt(15), rtol=1e-12)


def test_a_root_that_is_not_finite_counts_as_the_identity():
    """P overflows, M does not: the step goes along M."""
    g = 1e160 * np.random.default_rng(1).standard_normal((1, 3, 5))
    for root in ROOTS:
        made, method = built(linear([g]), algorithm("asgo_practical", lr=0.5, root=root, normalize=False), runs=1)
        with np.errstate(all="ignore"):
            after = walk(made, method, 1)[-1]
        np.testing.assert_allclose(after.x, 1 - 0.5 * 0.1 * g, rtol=1e-12)


def test_huge_gradients_are_no_error_and_make_a_finite_step():
    g = 1e9 * np.random.default_rng(2).standard_normal((1, 6, 9))
    made, method = built(linear([g]), algorithm("asgo_practical", lr=0.5), runs=1)
    assert np.isclose(np.linalg.norm(walk(made, method, 1)[-1].x - 1), 0.5 * 0.2 * math.sqrt(54), rtol=1e-12)


@pytest.mark.parametrize("name", ["asgo_practical", "dasgo_practical", "muon"])
def test_a_run_that_is_not_finite_leaves_the_others_alone(name):
    g = np.random.default_rng(3).standard_normal((2, 4, 6))
    bad = g.copy()
    bad[1, 0, 0] = np.nan
    sound, spoilt = (walk(*built(linear([each] * 3), algorithm(name, lr=0.1)), 3)[-1].x for each in (g, bad))
    np.testing.assert_array_equal(sound[0], spoilt[0])
    assert np.isnan(spoilt[1]).any()


# ------------------------------------------------------------------------------------------------ DASGO, Muon
@every_shape
def test_dasgo_as_coded(shape):
    compare(shape, "dasgo_practical", {"lr": 0.05, "weight_decay": 0.1}, loop_dasgo, lr=0.05, wd=0.1)


@every_shape
def test_muon_as_the_authors_baseline(shape):
    options = {"lr": 0.05, "momentum": 0.9, "length": "rms", "root": "newton_schulz", "weight_decay": 0.1}
    scale = 0.2 * math.sqrt(max(shape))
    compare(shape, "muon", options, loop_muon, lr=0.05, polar=five_steps, scale=lambda d: scale, wd=0.1)


@every_shape
@pytest.mark.parametrize("root", ["polar", "polar_express"])
@pytest.mark.parametrize("length", ["constant", "nuclear", "rms", "spectral"])
def test_muon_with_exact_polar_factors(length, root, shape):
    scale = {
        "constant": lambda d: 1.0,
        "nuclear": lambda d: np.linalg.svd(d, compute_uv=False).sum(),
        "rms": lambda d: 0.2 * math.sqrt(max(shape)),
        "spectral": lambda d: math.sqrt(max(1.0, shape[0] / shape[1])),
    }[length]
    options = {"lr": 0.03, "momentum": 0.8, "length": length, "root": root, "nesterov": length == "constant"}
    compare(shape, "muon", options, loop_muon, 1e-7, lr=0.03, b=0.8, scale=scale, nesterov=length == "constant")


@pytest.mark.parametrize(("shape", "nesterov"), [((12, 20), False), ((20, 12), True), ((12, 12), False)])
def test_muon_against_optax(shape, nesterov):
    """optax corrects the bias of its averages, which is a factor that the polar factor does not see; in the Nesterov step M_t and
    G_t have factors of their own, which are 1 late in a run: there it is told that it has taken many steps. Its step has the
    length 0.2 sqrt(max(m, n)) with consistent_rms=0.2, and its eps is added to the Frobenius norm: 0 here."""
    jax = pytest.importorskip("jax")
    contrib = pytest.importorskip("optax.contrib")
    made, _ = built(noisy(shape), algorithm("sgd", lr=0.1), runs=1)
    options = {"momentum": 0.9, "length": "rms", "root": "newton_schulz", "nesterov": nesterov}
    mine = iterates(noisy(shape), algorithm("muon", lr=0.05, weight_decay=0.1, **options), STEPS, runs=1)[:, 0]
    with jax.enable_x64(True):
        theirs = contrib.muon(0.05, beta=0.9, eps=0.0, weight_decay=0.1, nesterov=nesterov, consistent_rms=0.2)
        w = jax.numpy.asarray(made.start[0])
        state = theirs.init(w)
        late = 10**6 if nesterov else 0
        update_of = jax.jit(theirs.update)
        state = jax.tree.map(lambda leaf: leaf + late if leaf.dtype == np.int32 else leaf, state)
        for t in range(1, STEPS + 1):
            g = jax.numpy.asarray(made.sample(np.asarray(w)[None], Draw(t))[0])
            update, state = update_of(g, state, w)
            w = w + update
            assert w.dtype == np.float64
            np.testing.assert_allclose(mine[t], np.asarray(w), rtol=0, atol=1e-11)


# ------------------------------------------------------------------------------------------------ refusals
@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("asgo_practical", {"side": "both"}, "side='both' is not allowed; choose one of smaller, left, right"),
        ("asgo_practical", {"root": "svd"}, "root='svd' is not allowed; choose one of eigh, coupled_newton"),
        ("asgo_practical", {"tau": 0}, "tau=0 is not allowed"),
        ("asgo_practical", {"normalize": 2}, "normalize=2 is not allowed"),
        ("dasgo_practical", {"schedule": "cosine:a"}, "cannot be read"),
        ("muon", {"root": "svd"}, "root='svd' is not allowed; choose one of polar, newton_schulz, polar_express"),
        ("muon", {"length": "long"}, "length='long' is not allowed; choose one of constant, nuclear, rms, spectral"),
    ],
)
def test_refused_options(name, options, words):
    with pytest.raises(TheorysimError, match=words):
        built(noisy((2, 3)), algorithm(name, **options))


@pytest.mark.parametrize("name", ["asgo_practical", "dasgo_practical", "muon"])
def test_vectors_are_refused(name):
    _, method = built(noisy((2, 3)), algorithm(name))
    with pytest.raises(TheorysimError, match=f"{name} needs matrices, not iterates of shape"):
        method.init(None, np.ones((2, 5)))

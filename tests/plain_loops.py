"""Runs of an algorithm as a table of iterates, and the same runs by plain loops written from the formulas."""

from __future__ import annotations

import itertools
import math

import numpy as np

from theorysim.backend import CPU, to_host
from theorysim.build import build_algorithm, build_problem, variants
from theorysim.model import Draw, Problem
from theorysim.noise import Draws
from theorysim.oracle import Oracle
from theorysim.registry import algorithm, problem

DENSE = problem("anisotropic_quadratic", dim=5, rotation="random", noise=0.3, start="uniform", low=0.5)
DIAGONAL = problem("anisotropic_quadratic", dim=5, noise=0.3, start="uniform", low=0.5)
STEPS, RUNS = 50, 2


def built(of, spec, backend=CPU, runs=RUNS):
    """The problem and the algorithm for all rows of a batch."""
    draws = Draws(backend, 3, np.tile(np.arange(runs), variants(spec)))
    made = of if isinstance(of, Problem) else build_problem(of, draws)
    return made, build_algorithm(spec, made, draws)


def walk(made, method, steps=STEPS):
    """All states w_1, w_2, ... of one batch."""
    oracle, states = Oracle(made), [method.init(made, made.start)]
    for t in range(1, steps + 1):
        oracle.begin(t)
        states.append(method.step(states[-1], oracle))
    return states


def iterates(of, spec, steps=STEPS, backend=CPU, runs=RUNS):
    """``(steps + 1, rows, dim)`` on the host."""
    return np.stack([to_host(state.x) for state in walk(*built(of, spec, backend, runs), steps)])


def quadratic(hessian, start):
    """f = w'Hw/2 from one start, without noise; one row."""
    return Problem(
        shape=start.shape,
        start=start[None],
        minimizer=np.zeros_like(start),
        constants={},
        gap=lambda x: 0.5 * np.sum(x * (x @ hessian), axis=1),
        gradient=lambda x: x @ hessian,
        sample=lambda x, draw: x @ hessian,
    )


# ------------------------------------------------------------------- the formulas, one coordinate at a time
def loop_sgd(ask, w, lr, schedule="constant"):
    factor = {"constant": lambda t: 1, "inverse": lambda t: 1 / t, "inverse_sqrt": lambda t: 1 / math.sqrt(t)}[schedule]
    for t in itertools.count(1):
        w = [wj - lr * factor(t) * gj for wj, gj in zip(w, ask(t, w), strict=True)]
        yield w


def loop_adagrad(ask, w, lr, eps=0.0, v0=0.0, box=math.inf, fault="", decay=0.99, joint=False):
    v = [v0] * len(w)
    for t in itertools.count(1):
        g, old = ask(t, w), list(v)
        squares = [sum(gj**2 for gj in g)] * len(w) if joint else [gj**2 for gj in g]
        average = fault.startswith("moving_average")
        v = [decay * vj + (1 - decay) * s if average else vj + s for vj, s in zip(v, squares, strict=True)]
        w = list(w)
        for j in range(len(w)):
            below = {
                "no_root": v[j] + eps,
                "lagged": old[j] ** 0.5 + eps,
                "eps_inside": (v[j] + eps) ** 0.5,
                "moving_average_corrected": (v[j] / (1 - decay**t)) ** 0.5 + eps,
                "frozen": math.inf,
            }.get(fault, v[j] ** 0.5 + eps)
            w[j] = w[j] - lr * g[j] / below if below else w[j]
            if fault != "frozen":
                w[j] = min(box, max(-box, w[j]))
        yield w


def loop_full_matrix(ask, w, lr, eps=0.0):
    """By the singular values of the table of all gradients: G = A'A, so sqrt(G) has the singular values of A."""
    seen = []
    for t in itertools.count(1):
        seen.append(ask(t, w))
        _, s, axes = np.linalg.svd(np.array(seen), full_matrices=False)
        w = w - lr * axes.T @ (axes @ seen[-1] / (s + eps))
        yield w


def loop_heavy_ball(ask, w, lr, momentum):
    velocity = [0.0] * len(w)
    for t in itertools.count(1):
        velocity = [momentum * uj - lr * gj for uj, gj in zip(velocity, ask(t, w), strict=True)]
        w = [wj + uj for wj, uj in zip(w, velocity, strict=True)]
        yield w


def loop_nesterov(ask, w, lr, momentum=None):
    y = w
    for k in itertools.count(1):
        before, w = w, [yj - lr * gj for yj, gj in zip(y, ask(k, y), strict=True)]
        m = k / (k + 3) if momentum is None else momentum
        y = [wj + m * (wj - bj) for wj, bj in zip(w, before, strict=True)]
        yield w


def loop_adam(ask, w, lr, beta1=0.9, beta2=0.999, eps=1e-8, bias_correction=True):
    past = []
    for t in itertools.count(1):
        past.append(ask(t, w))
        weights = [(beta1 ** (t - s), beta2 ** (t - s)) for s in range(1, t + 1)]
        # The corrected averages are weighted means: divide by the sum of the weights.
        n1, n2 = (sum(part) for part in zip(*weights, strict=True)) if bias_correction else (1 / (1 - beta1), 1 / (1 - beta2))
        w = list(w)
        for j in range(len(w)):
            m = sum(a * g[j] for (a, _), g in zip(weights, past, strict=True)) / n1
            v = sum(b * g[j] ** 2 for (_, b), g in zip(weights, past, strict=True)) / n2
            w[j] -= lr * m / (math.sqrt(v) + eps)
        yield w


def loop_rmsprop(ask, w, lr, decay=0.9, eps=1e-8, momentum=0.0):
    """The iterate as a sum of all steps so far, each with the weight that is left of it."""
    start, v, steps = w, [0.0] * len(w), []
    for t in itertools.count(1):
        g = ask(t, w)
        v = [decay * vj + (1 - decay) * gj**2 for vj, gj in zip(v, g, strict=True)]
        steps.append([lr * gj / (math.sqrt(vj) + eps) for gj, vj in zip(g, v, strict=True)])
        weights = [sum(momentum**k for k in range(t - s)) for s in range(t)]
        w = [wj - sum(a * step[j] for a, step in zip(weights, steps, strict=True)) for j, wj in enumerate(start)]
        yield w


def loop_signum(ask, w, lr, momentum=0.9, schedule="constant"):
    past = []
    for t in itertools.count(1):
        past.append(ask(t, w))
        size = {"constant": lr, "inverse": lr / t}[schedule]
        sums = [sum(momentum ** (t - 1 - s) * g[j] for s, g in enumerate(past)) for j in range(len(w))]
        w = [wj - math.copysign(size, sj) for wj, sj in zip(w, sums, strict=True)]
        yield w


def loop_sign_sgd(ask, w, lr, schedule="constant"):
    return loop_signum(ask, w, lr, 0.0, schedule)


def loop_adagrad_norm(ask, w, **h):
    return loop_adagrad(ask, w, joint=True, **h)


LRS = [0.07, 0.2, 0.45]
FAULTY = [
    {"fault": "no_root", "lr": [0.01, 0.03, 0.05], "eps": 0.2, "v0": 0.5},
    {"fault": "lagged", "lr": LRS},
    {"fault": "lagged", "lr": LRS, "v0": [0.1, 0.2, 0.3]},
    {"fault": "moving_average", "lr": LRS, "decay": [0.5, 0.9, 0.99], "v0": 1e-4},
    {"fault": "moving_average_corrected", "lr": LRS, "decay": [0.5, 0.9, 0.99]},
    {"fault": "eps_inside", "lr": LRS, "eps": 0.1},
    {"fault": "moving_average", "lr": LRS, "box": 0.4},
]
FROZEN = ("faulty_adagrad", {"fault": "frozen", "lr": LRS, "box": 0.1}, loop_adagrad)
CASES = [
    ("gradient_descent", {"lr": LRS}, loop_sgd),
    ("gradient_descent", {"lr": LRS, "schedule": "inverse_sqrt"}, loop_sgd),
    ("sgd", {"lr": LRS}, loop_sgd),
    ("sgd", {"lr": LRS, "schedule": "inverse"}, loop_sgd),
    ("adagrad", {"lr": LRS}, loop_adagrad),
    ("adagrad", {"lr": LRS, "eps": [0.0, 0.1, 1.0], "v0": [0.3, 0.0, 0.1], "box": [0.3, 0.4, 2.0]}, loop_adagrad),
    ("adagrad_norm", {"lr": LRS}, loop_adagrad_norm),
    ("adagrad_norm", {"lr": LRS, "eps": [0.0, 0.1, 1.0], "v0": [0.3, 0.0, 0.1], "box": [0.3, 0.4, 2.0]}, loop_adagrad_norm),
    ("full_matrix_adagrad", {"lr": LRS}, loop_full_matrix),
    ("full_matrix_adagrad", {"lr": LRS, "eps": [0.0, 0.1, 1.0]}, loop_full_matrix),
    ("heavy_ball", {"lr": LRS, "momentum": [0.0, 0.5, 0.9]}, loop_heavy_ball),
    ("nesterov", {"lr": LRS}, loop_nesterov),
    ("nesterov", {"lr": LRS, "momentum": [0.0, 0.5, 0.9]}, loop_nesterov),
    ("adam", {"lr": LRS}, loop_adam),
    ("adam", {"lr": LRS, "beta1": [0.0, 0.5, 0.9], "beta2": [0.9, 0.99, 0.5], "eps": [0.1, 1e-3, 0.0]}, loop_adam),
    ("adam", {"lr": LRS, "beta2": 0.95, "bias_correction": False}, loop_adam),
    ("rmsprop", {"lr": LRS}, loop_rmsprop),
    ("rmsprop", {"lr": LRS, "decay": [0.0, 0.9, 0.99], "eps": [1.0, 0.0, 1e-3], "momentum": [0.5, 0.9, 0.3]}, loop_rmsprop),
    ("sign_sgd", {"lr": LRS}, loop_sign_sgd),
    ("sign_sgd", {"lr": LRS, "schedule": "inverse"}, loop_sign_sgd),
    ("signum", {"lr": LRS}, loop_signum),
    ("signum", {"lr": LRS, "momentum": [0.0, 0.5, 0.99], "schedule": "inverse"}, loop_signum),
    *(("faulty_adagrad", params, loop_adagrad) for params in FAULTY),
]
ALL = [*CASES, FROZEN, ("average", {"of": algorithm("adagrad", lr=LRS, eps=[0.0, 0.1, 1.0])}, None)]


def by_loop(name, params, loop):
    """What ``iterates(DENSE, ...)`` must be, from the matrix H, the noise table and the formula."""
    made, _ = built(DENSE, algorithm(name, **params))
    hessian, start = made.capabilities["hessian"](), made.start
    noise = np.stack([made.sample(made.minimizer, Draw(t)) for t in range(1, STEPS + 1)])
    rows = []
    for row in range(len(start)):
        of_row = {k: value[row // RUNS] if isinstance(value, list) else value for k, value in params.items()}

        def ask(t, w, row=row):
            return hessian @ (np.array(w) - made.minimizer[row]) + (0.0 if name == "gradient_descent" else noise[t - 1, row])

        rows.append([start[row], *itertools.islice(loop(ask, start[row], **of_row), STEPS)])
    return np.moveaxis(np.array(rows), 0, 1)

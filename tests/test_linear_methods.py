"""What linear methods declare of themselves is what they do: the words of model.LinearMethod against their runs."""

from __future__ import annotations

import itertools
from dataclasses import fields, replace

import mpmath
import numpy as np
import pytest
from plain_loops import DENSE, STEPS, built, walk

from theorysim.model import Draw, TheorysimError
from theorysim.registry import ALGORITHMS, algorithm, parameters

GIVEN = {
    "lr": [0.3, 0.2],
    "momentum": [0.6, 0.9],
    "kappa_a": [3.0, 30.0],
    "rho": [0.5, 0.8],
    "alpha": [0.3, 0.1],
    "kappa_tilde": [2.0, 5.0],
    "delta": [0.4, 1.1],
    "horizon": 40,
    "batch": 4,
    "chance": 0.5,
    "rounds": 2,
    "fault": "no_root",
    "of": algorithm("adam"),
}


OTHERS = {"mass", "mass_three_sequences", "parametrized_heavy_ball", "parametrized_nesterov", "triple_momentum"}


def methods():
    """Every algorithm, with two schedules and both forms where it has them, and the averages of all these."""
    for name in ALGORITHMS.names():
        known = parameters(ALGORITHMS, name)
        given = {key: GIVEN[key] for key in known if key in GIVEN}
        kinds = [{"schedule": text} for text in ("step_decay:1.5,4", "linear:90") if "schedule" in known] or [{}]
        forms = [{"form": form} for form in ("polyak", "library") if "form" in known] or [{}]
        for kind, form in itertools.product(kinds, forms):
            spec = algorithm(name, **given, **kind, **form)
            yield from (spec, algorithm("average", of=spec), algorithm("average", of=algorithm("average", of=spec)))


def linear_of(spec):
    try:
        return built(DENSE, spec)[1].linear
    except TheorysimError:
        return None  # its iterates have another shape


DECLARED = [spec for spec in methods() if linear_of(spec) is not None]


def test_who_declares_what_it_does():
    inner = {spec.name for spec in DECLARED if spec.name != "average"}
    assert inner >= {"gradient_descent", "sgd", "heavy_ball", "nesterov", *OTHERS}
    assert not inner & {"adagrad", "adagrad_norm", "full_matrix_adagrad", "adam", "muon", "faulty_adagrad"}
    assert linear_of(algorithm("nesterov")) is None
    averages = [spec for spec in DECLARED if spec.name == "average"]
    assert 3 * len(averages) == 2 * len(DECLARED)
    assert all(linear_of(spec).averaged and np.all(linear_of(spec).output == 0) for spec in averages)


def by_declaration(made, method, steps=STEPS):
    """What is put out after 0, 1, ... steps, by the recursion in the words of model.LinearMethod."""
    factors = [factor for factor, length in method.stages(steps) for _ in range(length)]
    kick = method.momentum * method.lr if method.kick is None else method.kick
    w, z, past, outputs = made.start, 0 * made.start, [], [made.start]
    for t, s in enumerate(factors, start=1):
        if method.lr_outside and t > 1:
            z = z * (s / factors[t - 2])
        u = w + method.look_ahead * z
        g = made.sample(u, Draw(t)) if method.stochastic else made.gradient(u)
        past.append(w)
        w, z = w + z - method.lr * s * g, method.momentum * z - kick * s * g
        outputs.append(np.mean(past, axis=0) if method.averaged else w + method.output * z)
    return np.stack(outputs)


@pytest.mark.parametrize("spec", DECLARED, ids=str)
def test_what_is_declared_is_what_is_done(spec):
    made, method = built(DENSE, spec)
    mine = np.stack([method.output(state) for state in walk(made, method)])
    np.testing.assert_allclose(by_declaration(made, method.linear), mine, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("spec", [spec for spec in DECLARED if spec.name != "average"], ids=str)
def test_every_declared_weight_matters(spec):
    """So the comparison above notices each of them."""
    made, method = built(DENSE, spec)
    right = by_declaration(made, method.linear)
    weights = {each.name: getattr(method.linear, each.name) for each in fields(method.linear)}
    for name in ("lr", "momentum", "look_ahead", "kick", "output"):
        if weights[name] is not None and np.any(weights[name] != 0):
            wrong = by_declaration(made, replace(method.linear, **{name: 1.01 * weights[name]}))
            assert np.abs(wrong - right).max() > 1e-4, name
    if weights["lr_outside"]:
        assert np.abs(by_declaration(made, replace(method.linear, lr_outside=False)) - right).max() > 1e-3
    if weights["friction"] is not None:
        np.testing.assert_allclose(weights["friction"], 1 - weights["momentum"], rtol=1e-14)


@pytest.mark.parametrize("stiff", [1e2 + 1 / 3, 1e7, 1e13])
def test_declared_weights_have_all_their_digits(stiff):
    """Friction and kick where 1 - momentum and gamma lr - eta_2 lose up to 13 digits, against 60 digits."""

    def close(found, exact):
        assert abs(found / exact - 1) < 1e-14

    with mpmath.workdps(60):
        root, small = mpmath.sqrt(mpmath.mpf(stiff)), 1 / stiff
        for name in ("parametrized_nesterov", "parametrized_heavy_ball"):
            weights = linear_of(algorithm(name, kappa_a=stiff))
            momentum = ((root - 1) / (root + 1)) ** (1 if name == "parametrized_nesterov" else 2)
            close(weights.friction, 1 - momentum)
            close(weights.momentum, momentum)
        alpha = mpmath.mpf(small)
        gamma, eta2 = (1 - alpha) / (1 + alpha), mpmath.mpf(0.3) * (1 - 1 / mpmath.mpf(7.0)) / (1 + alpha)
        weights = linear_of(algorithm("mass", lr=0.3, alpha=small, kappa_tilde=7.0))
        close(weights.friction, 1 - gamma)
        close(weights.kick, gamma * mpmath.mpf(0.3) - eta2)
        weights = linear_of(algorithm("mass_three_sequences", lr=0.3, alpha=small, delta=9.0))
        close(weights.friction, 1 - gamma)
        close(weights.kick, gamma * mpmath.mpf(0.3) - (mpmath.mpf(0.3) - alpha * 9) / (1 + alpha))
        rho = mpmath.mpf(1 - small)
        weights = linear_of(algorithm("triple_momentum", lr=0.3, rho=1 - small))
        close(weights.friction, 1 - rho**2 / (2 - rho))
        close(weights.output, rho**2 / (1 - rho**2) / (rho**2 / (2 - rho)))

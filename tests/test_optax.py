"""The methods that go coordinate by coordinate against optax, on the same noisy gradients."""

from __future__ import annotations

import numpy as np
import pytest
from plain_loops import DENSE, built, walk

from theorysim.model import Draw
from theorysim.registry import algorithm

STEPS = 12
CASES = {  # ours, the name in optax, its arguments; where it divides by sqrt(v + eps), eps is 0
    "adagrad": (algorithm("adagrad", lr=0.3, v0=0.2), "adagrad", {"initial_accumulator_value": 0.2, "eps": 0.0}),
    "adam": (algorithm("adam", lr=0.1, beta1=0.8, beta2=0.95, eps=0.01), "adam", {"b1": 0.8, "b2": 0.95, "eps": 0.01}),
    "rmsprop": (
        algorithm("rmsprop", lr=0.1, decay=0.8, eps=0.05),
        "rmsprop",
        {"decay": 0.8, "eps": 0.05, "eps_in_sqrt": False},
    ),
    "rmsprop with momentum": (
        algorithm("rmsprop", lr=0.1, eps=0.0, momentum=0.7),
        "rmsprop",
        {"eps": 0.0, "momentum": 0.7},
    ),
    "sign_sgd": (algorithm("sign_sgd", lr=0.1), "sign_sgd", {}),
    "signum": (algorithm("signum", lr=0.1, momentum=0.6), "signum", {"beta": 0.6}),
}


@pytest.mark.parametrize("case", CASES)
def test_against_optax(case):
    optax, jax = pytest.importorskip("optax"), pytest.importorskip("jax")
    mine, name, settings = CASES[case]
    made, method = built(DENSE, mine)
    with jax.enable_x64(True):
        rule = getattr(optax, name)(mine.arguments["lr"], **settings)
        x = jax.numpy.asarray(made.start)
        state, path = rule.init(x), [np.asarray(x)]
        for t in range(1, STEPS + 1):
            change, state = rule.update(jax.numpy.asarray(made.sample(path[-1], Draw(t))), state)
            x = optax.apply_updates(x, change)
            path.append(np.asarray(x))
    found = np.stack([each.x for each in walk(made, method, STEPS)])
    np.testing.assert_allclose(found, np.stack(path), rtol=1e-12, atol=1e-13)
    assert np.abs(found[1] - found[0]).min() > 1e-3

"""The experiment in JAX, as one writes it: optax, a scan over the steps, vmap over the runs, the whole under jit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from numpy.typing import NDArray
from speed_experiments import SETTINGS, Experiment


def optimizer(method: str) -> Any:
    given = SETTINGS[method]
    match method:
        case "adagrad":
            return optax.adagrad(given["lr"], initial_accumulator_value=0.0, eps=0.0)
        case "adam":
            return optax.adam(given["lr"], given["beta1"], given["beta2"], given["eps"])
        case _:
            return optax.sgd(given["lr"], given.get("momentum"), nesterov=method == "nesterov")


def program(experiment: Experiment, dtype: str, keep_path: bool = False) -> Callable[[Any, Any], Any]:
    """(key of each run, start of each run) -> gap of each run, and all iterates ``(runs, steps, dim)`` if they are kept."""
    rule, h = optimizer(experiment.method), jnp.asarray(experiment.curvature, dtype)

    def iterate(x: Any, state: Any) -> Any:
        """In optax the parameters of Nesterov's method are the points where gradients are taken, ahead of the iterates."""
        if experiment.method != "nesterov":
            return x
        return x + SETTINGS["nesterov"]["lr"] * SETTINGS["nesterov"]["momentum"] * state[0].trace

    def step(carry: Any, key: Any) -> Any:
        x, state = carry
        g = h * x
        if experiment.sigma:
            g = g + experiment.sigma * jax.random.normal(key, x.shape, x.dtype)
        change, state = rule.update(g, state)
        x = optax.apply_updates(x, change)
        return (x, state), (iterate(x, state) if keep_path else None)

    def one(key: Any, x: Any) -> Any:
        keys = jax.random.split(key, experiment.steps) if experiment.sigma else None
        (x, state), path = jax.lax.scan(step, (x, rule.init(x)), keys, length=experiment.steps)
        x = iterate(x, state)
        return 0.5 * jnp.sum(h * x * x), path

    return jax.jit(jax.vmap(one))


def prepared(experiment: Experiment, dtype: str = "float64", seed: int = 0) -> Callable[[], NDArray[np.floating[Any]]]:
    """A function without arguments that runs it and waits for the gaps; its first call compiles."""
    with jax.enable_x64(dtype == "float64"):
        go, given = program(experiment, dtype), _arguments(experiment, dtype, seed)

    def gaps() -> NDArray[np.floating[Any]]:
        with jax.enable_x64(dtype == "float64"):
            return np.asarray(go(*given)[0])

    return gaps


def path(experiment: Experiment, dtype: str = "float64", seed: int = 0) -> NDArray[np.floating[Any]]:
    """All iterates, ``(steps, runs, dim)``."""
    with jax.enable_x64(dtype == "float64"):
        found = program(experiment, dtype, keep_path=True)(*_arguments(experiment, dtype, seed))[1]
        return np.moveaxis(np.asarray(found), 1, 0)


def _arguments(experiment: Experiment, dtype: str, seed: int) -> tuple[Any, Any]:
    keys = jax.random.split(jax.random.key(seed), experiment.runs)
    return keys, jnp.ones((experiment.runs, experiment.dim), dtype)

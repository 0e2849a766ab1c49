"""What decompositions and iterations of matrices cost: a step of ASGO against the same step in JAX; inverse roots by products.

Run it with ``python -m pytest -s tests/benchmarks/bench_matrices.py``.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from theorysim.backend import Backend, one_blas_thread, select, to_host
from theorysim.matrix_iterations import inverse_root
from theorysim.model import Problem
from theorysim.registry import ALGORITHMS

RUNS, SIZE, LR = 64, 64, 0.1
REPEATS = 7


def seconds(work: Callable[[], Any], repeats: int = REPEATS, clock: Callable[[], float] = time.perf_counter) -> float:
    """Median over repetitions; what is loaded and compiled late has been before."""
    took = []
    for _ in range(repeats):
        begin = clock()
        work()
        took.append(clock() - begin)
    return statistics.median(took)


class Given:
    """An oracle that answers the same gradient every time."""

    def __init__(self, g: Any) -> None:
        self.g = g

    def sample(self, x: Any) -> Any:
        return self.g


def gradients(count: int) -> list[np.ndarray[Any, Any]]:
    rng = np.random.default_rng(0)
    return [rng.standard_normal((RUNS, SIZE, SIZE)) for _ in range(count)]


def our_step(first: Any, g: Any) -> Callable[[], Any]:
    """The second step of ASGO for 64 runs, as the loop takes it: one BLAS thread, the stack shared among the cores."""
    method = ALGORITHMS.get("asgo")(lr=LR)
    x0 = np.zeros_like(first)
    made = Problem(x0.shape[1:], x0, None, {}, lambda x: x, lambda x: x, lambda x, draw: x)
    state = method.step(method.init(made, x0), Given(first))
    return lambda: method.step(state, Given(g))


def jax_step(first: Any, g: Any, x: Any) -> Callable[[], Any]:
    """The same in JAX, vmapped and compiled: V is formed, and decomposed by eigh."""
    jax = pytest.importorskip("jax")
    jnp = jax.numpy

    def one(V: Any, x: Any, g: Any) -> Any:
        V = V + g @ g.T
        values, q = jnp.linalg.eigh(V)
        inverse = jnp.where(values > 1e-14 * values[-1], jnp.maximum(values, 1e-300) ** -0.5, 0.0)
        return V, x - LR * (q * inverse) @ (q.T @ g)

    with jax.enable_x64(True):
        step = jax.jit(jax.vmap(one))
        V = jnp.asarray(first @ np.swapaxes(first, 1, 2))
        there = [jnp.asarray(each) for each in (V, x, g)]

    def work() -> Any:
        with jax.enable_x64(True):
            return jax.block_until_ready(step(*there))

    return work


def test_a_step_of_asgo_beside_the_same_step_in_jax() -> None:
    """Ours carries the root by singular values, which costs more than eigh and keeps directions that eigh rounds away."""
    first, g = gradients(2)
    with one_blas_thread():
        ours = our_step(first, g)
        theirs = jax_step(first, g, our_step(first, 0 * g)().x)
        np.testing.assert_allclose(ours().x, np.asarray(theirs()[1]), rtol=0, atol=1e-8)
        # In turns, so that both meet the same load of the machine; processor time does not see the load at all.
        pairs = [(seconds(ours, 1), seconds(theirs, 1)) for _ in range(REPEATS)]
        mine, other = (statistics.median(column) for column in zip(*pairs, strict=True))
        work = [seconds(each, clock=time.process_time) for each in (ours, theirs)]
    print(f"\nASGO, {RUNS} runs of {SIZE} x {SIZE}: ours {1e3 * mine:.1f} ms, JAX {1e3 * other:.1f} ms, ratio {mine / other:.2f}")
    print(f"processor time: ours {1e3 * work[0]:.1f} ms, JAX {1e3 * work[1]:.1f} ms, ratio {work[0] / work[1]:.2f}")
    assert work[0] <= 3 * work[1]


@pytest.mark.parametrize("backend", [select("auto")], ids=lambda backend: backend.name)
def test_inverse_roots_by_products_beside_eigh(backend: Backend) -> None:
    """Ratios to eigh, at condition 1e3; a batch of small matrices, or a single large one."""
    methods = ("coupled_newton", "newton_schulz", "polar_express")
    print(f"\ninverse square roots on {backend.describe()}: ms with eigh, and the time of each iteration over it")
    print(f"{'m':>5} {'rows':>5} {'eigh':>9}" + "".join(f"{name:>16}" for name in methods))
    with one_blas_thread():
        for m in (16, 32, 64, 128, 256, 512):
            rows, repeats = max(1, (128 // m) ** 2), REPEATS if m < 256 else 1
            a = backend.asarray(well_conditioned(rows, m))
            reference = to_host(inverse_root(a, 2, "eigh"))
            base = seconds(lambda a=a: waited(inverse_root(a, 2, "eigh")), repeats)  # type: ignore[misc]
            ratios = []
            for name in methods:
                np.testing.assert_allclose(to_host(inverse_root(a, 2, name)), reference, rtol=0, atol=1e-9)
                took = seconds(lambda a=a, name=name: waited(inverse_root(a, 2, name)), repeats)  # type: ignore[misc]
                ratios.append(took / base)
            print(f"{m:>5} {rows:>5} {1e3 * base:>9.2f}" + "".join(f"{ratio:>16.2f}" for ratio in ratios))


def well_conditioned(rows: int, m: int) -> np.ndarray[Any, Any]:
    q = np.linalg.qr(np.random.default_rng(m).standard_normal((rows, m, m)))[0]
    a = (q * np.geomspace(1.0, 1e-3, m)) @ np.swapaxes(q, 1, 2)
    return (a + np.swapaxes(a, 1, 2)) / 2


def waited(a: Any) -> Any:
    """Bring one number to the host, so that the device has finished."""
    return to_host(a[0, 0, 0])

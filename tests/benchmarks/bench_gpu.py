"""On a machine with a GPU: do GPU and CPU agree, how fast is it beside JAX, and how near the bandwidth of the device?

``python -m pytest -s tests/benchmarks/bench_gpu.py``; skipped where CuPy finds no GPU. Everything is compared in float64. Run it
with ``JAX_PLATFORMS`` unset: the comparisons with JAX are skipped where JAX itself sees no GPU (``pip install jax[cuda12]``).
"""

from __future__ import annotations

import os
import statistics
from typing import Any

os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # else JAX takes most of the device's memory for itself

import numpy as np
import pytest
from roofline_counts import counted
from speed_experiments import METHODS, SIGMA, Experiment, Size, gaps
from speed_measure import JAX64, OURS, competitors, seconds

import theorysim as ts
from theorysim.backend import gpu_problem, select
from theorysim.model import Spec

pytestmark = pytest.mark.skipif(gpu_problem() is not None, reason=str(gpu_problem()))

LR = [0.02, 0.1]
FUSED: tuple[Spec, ...] = (
    ts.algorithm("gradient_descent", lr=LR),
    ts.algorithm("sgd", lr=LR, schedule="inverse_sqrt"),
    ts.algorithm("heavy_ball", lr=LR, momentum=[0.5, 0.9]),
    ts.algorithm("nesterov", lr=LR),
    ts.algorithm("mass", lr=0.2, alpha=0.1, kappa_tilde=3.0),
    ts.algorithm("triple_momentum"),
    ts.algorithm("adagrad", lr=LR, box=0.7),
    ts.algorithm("rmsprop", lr=LR, momentum=0.5),
    ts.algorithm("adam", lr=LR),
    ts.algorithm("sign_sgd", lr=LR),
    ts.algorithm("signum", lr=LR),
    ts.algorithm("average", of=ts.algorithm("adagrad", lr=LR)),
)
# Some runs side by side, as in an experiment.
SMALL, LARGE = Size(10, 10_000, 2000, 2000, 5), Size(100, 1_000_000, 50, 100, 3)
WANTED = {SMALL: 5.0, LARGE: 1.0}
COPIED = 2**27  # numbers: 1 GiB


def jax_sees_a_gpu() -> bool:
    try:
        import jax

        return any(device.platform == "gpu" for device in jax.devices())
    except (ImportError, RuntimeError):
        return False


@pytest.mark.parametrize("method", FUSED, ids=lambda method: method.name)
@pytest.mark.parametrize("noise", [0.0, 0.3], ids=["free", "noisy"])
def test_a_gpu_and_the_cpu_agree_over_a_thousand_steps(method: Spec, noise: float) -> None:
    """To rounding, and with the kernels as written to the last bit: the program says how many numbers are the same."""
    of = ts.problem("anisotropic_quadratic", dim=32_773, start="uniform", noise=noise)
    asked: dict[str, Any] = {"runs": 3, "measure": ("gap", "distance:inf", "coordinate:32772"), "record": "log"}
    here, there = (ts.run(of, method, 1000, device=device, **asked) for device in ("cpu", "gpu"))
    same = [np.mean(here[name] == there[name]) for name in asked["measure"]]
    print(f"\n{method.name}, noise {noise}: parts that are the same to the bit: {', '.join(f'{part:.2f}' for part in same)}")
    for name in asked["measure"]:
        np.testing.assert_allclose(there[name], here[name], rtol=1e-9, atol=1e-9 * np.abs(here[name]).max(), err_msg=name)


@pytest.mark.skipif(not jax_sees_a_gpu(), reason="JAX sees no GPU")
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("sigma", [SIGMA, 0.0], ids=["noisy", "free"])
@pytest.mark.parametrize("size", WANTED, ids=lambda size: size.name)
def test_as_many_times_as_fast_as_jax_as_wanted(size: Size, sigma: float, method: str) -> None:
    """In alternating rounds; the first calls, which compile, are left out."""
    both = {each.name: each for each in competitors(size.experiment(method, sigma), "gpu") if each.name in (OURS, JAX64)}
    for each in both.values():
        each.work()
    rounds = [seconds(both[JAX64].work) / seconds(both[OURS].work) for _ in range(size.rounds)]
    print(f"\n{size.name}, {method}, noise {sigma}: {statistics.median(rounds):.2f} times as fast as JAX")
    assert statistics.median(rounds) >= WANTED[size]


def copy_bandwidth(rounds: int = 20) -> float:
    """Bytes a second that a copy on the device reads and writes."""
    import cupy

    a, b = cupy.ones(COPIED), cupy.empty(COPIED)
    begin, end, times = cupy.cuda.Event(), cupy.cuda.Event(), []
    for _ in range(rounds):
        begin.record()
        cupy.copyto(b, a)
        end.record()
        end.synchronize()
        times.append(1e-3 * cupy.cuda.get_elapsed_time(begin, end))
    return 16 * COPIED / min(times)


@pytest.mark.parametrize("method", METHODS)
def test_share_of_what_memory_allows(method: str) -> None:
    """The bytes of all states over the time: above 1, because a kernel reads and writes them once in many steps."""
    experiment, bandwidth = LARGE.experiment(method, 0.0), copy_bandwidth()
    gaps(experiment, "gpu")
    taken = statistics.median(seconds(lambda: gaps(experiment, "gpu")) for _ in range(3))
    share = experiment.updates * counted(method).bytes / taken / bandwidth
    print(f"\n{select('gpu').describe()}: {bandwidth / 1e9:.0f} GB/s")
    print(
        f"{method}: {experiment.updates / taken:.3g} updates/s, {share:.2f} of it, were the state read and written in every step"
    )
    assert share >= 1.0


@pytest.mark.parametrize("method", METHODS)
def test_noise_costs_arithmetic_and_not_memory(method: str) -> None:
    """What is left of the speed with noise; a device with few units for float64 shows less."""
    free, noisy = (Experiment(method, sigma, 100, 100_000, 100) for sigma in (0.0, SIGMA))
    for experiment in (free, noisy):
        gaps(experiment, "gpu")
    ratio = statistics.median(seconds(lambda: gaps(free, "gpu")) / seconds(lambda: gaps(noisy, "gpu")) for _ in range(3))
    print(f"\n{method}: with noise {ratio:.2f} of the speed without")
    assert 0 < ratio < 1.5

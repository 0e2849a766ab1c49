"""How fast is theorysim, beside NumPy and JAX as one writes them? The same experiment in all three; first they have to agree.

``python tests/benchmarks/bench_speed.py`` prints the table, ``--page docs/speed.md --csv docs/speed.csv`` writes it, ``--quick``
only sees that everything runs through. ``python -m pytest -s tests/benchmarks/bench_speed.py`` holds it against the ratios that
are wanted. On an idle machine; it needs ``pip install theorysim[bench]``.
"""

from __future__ import annotations

import argparse
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

os.environ.setdefault("JAX_PLATFORMS", "cpu")

import numpy as np
import pytest
import speed_jax
import speed_numpy
from scipy.stats import ks_2samp
from speed_experiments import CACHE, MEMORY, METHODS, QUICK, SIGMA, SIZES, SMALL, Experiment, gaps, path, run
from speed_measure import JAX32, JAX64, NUMPY, OURS, Row, measured, require_agreement
from speed_table import markdown, write_csv, write_page

WANTED = {  # size and noise: how many times as fast as the others
    (CACHE, SIGMA): {JAX64: 6.0, NUMPY: 8.0, JAX32: 1.5},
    (CACHE, 0.0): {JAX64: 1.0},
    (MEMORY, 0.0): {JAX64: 2.0},
}


# ------------------------------------------------------------------------------------------------ do they compute the same?
@pytest.mark.parametrize("method", METHODS)
def test_the_three_have_the_same_trajectory_without_noise(method: str) -> None:
    experiment = Experiment(method, 0.0, runs=3, dim=37, steps=200)
    ours = path(experiment)
    assert ours.shape == (200, 3, 37) and np.abs(ours[-1] - 1).min() > 1e-2
    np.testing.assert_allclose(np.stack(list(speed_numpy.path(experiment))), ours, rtol=0, atol=1e-10)
    np.testing.assert_allclose(speed_jax.path(experiment), ours, rtol=0, atol=1e-10)
    np.testing.assert_allclose(speed_jax.path(experiment, "float32"), ours, rtol=0, atol=1e-3)


@pytest.mark.parametrize("method", METHODS)
def test_the_three_end_at_the_same_point_where_kernels_run(method: str) -> None:
    """All iterates are asked for above, so steps are taken one by one; here only the last is, of a larger experiment."""
    experiment = Experiment(method, 0.0, runs=32, dim=2500, steps=500)
    at = (0, 1, 17, 2499)
    trace = run(experiment, measure=("gap", *(f"coordinate:{j}" for j in at)))
    *_, end = speed_numpy.path(replace(experiment, runs=1))
    ours = np.stack([trace[f"coordinate:{j}"][:, -1] for j in at], axis=-1)
    np.testing.assert_allclose(ours, np.broadcast_to(end[:, at], ours.shape), rtol=0, atol=1e-10)
    require_agreement(experiment, trace["gap"][:, -1], speed_numpy.gaps(experiment), NUMPY)
    require_agreement(experiment, trace["gap"][:, -1], speed_jax.prepared(experiment)(), JAX64)


@pytest.mark.parametrize("method", METHODS)
def test_the_gap_has_the_same_distribution_with_noise(method: str) -> None:
    """Kolmogorov and Smirnov; another noise, 10 % larger, is noticed."""
    experiment = Experiment(method, 10 * SIGMA, runs=4000, dim=20, steps=450)
    ours = gaps(experiment)
    louder = Experiment(method, 11 * SIGMA, runs=4000, dim=20, steps=450)
    for theirs in (speed_numpy.gaps(experiment), speed_jax.prepared(experiment)(), speed_jax.prepared(experiment, "float32")()):
        assert ks_2samp(ours, theirs).pvalue > 1e-3
    assert ks_2samp(ours, speed_numpy.gaps(louder)).pvalue < 1e-6


# ------------------------------------------------------------------------------------------------ how fast?
@pytest.mark.parametrize("method", ["adagrad", "heavy_ball", "adam"])
@pytest.mark.parametrize(("size", "sigma"), WANTED, ids=lambda value: getattr(value, "name", f"noise={value}"))
def test_as_many_times_as_fast_as_wanted(size: Any, sigma: float, method: str) -> None:
    rows = {row.name: row for row in measured(size, method, sigma)}
    print(f"\n{markdown(list(rows.values()))}")
    for name, ratio in WANTED[size, sigma].items():
        assert rows[name].ratio >= ratio, f"{rows[name].ratio:.2f} times as fast as {name}"


@pytest.mark.parametrize("sigma", [0.0, SIGMA], ids=["free", "noisy"])
@pytest.mark.parametrize("method", METHODS)
def test_cost_for_comparisons_over_time(benchmark: Any, method: str, sigma: float) -> None:
    """``--benchmark-only --benchmark-autosave``, later ``--benchmark-compare``: did a change make theorysim slower?"""
    experiment = SMALL.experiment(method, sigma)
    benchmark.extra_info["updates"] = experiment.updates
    benchmark.pedantic(lambda: gaps(experiment), rounds=5, warmup_rounds=1)


def table(quick: bool, device: str) -> list[Row]:
    rows = []
    for size in QUICK if quick else SIZES:
        for sigma in (SIGMA, 0.0):
            for method in METHODS:
                rows += measured(size, method, sigma, device)
                found = ", ".join(f"{row.name} {row.speed / 1e6:.4g}" for row in rows if row in rows[-4:])
                print(f"{size.name}, noise {sigma:g}, {method}: {found} M updates/s", flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to see that it runs through")
    parser.add_argument("--device", choices=("cpu", "gpu"), default="cpu", help=f"of {OURS}; choose JAX's by JAX_PLATFORMS")
    parser.add_argument("--csv", type=Path, help="write the rows to this file")
    parser.add_argument("--page", type=Path, help="write the table between the marks of this page")
    chosen = parser.parse_args()
    rows = table(chosen.quick, chosen.device)
    text = markdown(rows, chosen.device)
    print(f"\n{text}")
    if chosen.csv:
        write_csv(rows, chosen.csv)
    if chosen.page:
        write_page(text, chosen.page)


if __name__ == "__main__":
    main()

"""What does an expectation cost? Heavy ball with step decay, 1e5 eigenvalues, 1e9 steps: against one step of a simulation.

Run it with ``python -m pytest -s tests/benchmarks/bench_expectations.py`` on an idle machine.
"""

from __future__ import annotations

import resource
import time

import theorysim as ts

DIM, STAGE, STAGES = 100_000, 25_000_000, 40


def test_a_thousand_million_steps_cost_less_than_two_thousand() -> None:
    what = ts.problem("anisotropic_quadratic", dim=DIM, spectrum="log", kappa=1e6, noise=1.0, noise_law="spectrum")
    method = ts.algorithm(
        "heavy_ball", lr="1/lambda_max", momentum="(1 - sqrt(lambda_min/lambda_max))**2", schedule=f"step_decay:2,{STAGE}"
    )
    ts.expected_gap(what, method, 1, device="cpu")  # loads what is loaded late
    begin = time.perf_counter()
    ts.expected_gap(what, method, STAGE * STAGES, device="cpu")
    exact = time.perf_counter() - begin
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    ts.run(what, method, 1, device="cpu")
    begin = time.perf_counter()
    ts.run(what, method, 100, record="last", device="cpu")
    step = (time.perf_counter() - begin) / 100
    print(f"\n{exact:.2f} s, peak {memory:.0f} MB in all, the work of {exact / step:.0f} steps of one run")
    assert exact < 2000 * step

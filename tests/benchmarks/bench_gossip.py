"""What a round of gossip costs: linear in the edges, from a thousand to a million; and ten thousand agents in the plane.

Run it with ``python -m pytest -s tests/benchmarks/bench_gossip.py``.
"""

from __future__ import annotations

import time
import tracemalloc
from typing import Any

import numpy as np

from theorysim.backend import CPU, one_blas_thread
from theorysim.noise import Draws
from theorysim.problems._network import network

SIDES = (23, 71, 224, 707)  # of a torus: some 1e3, 1e4, 1e5, 1e6 edges
DIM, RUNS = 10, 4


def seconds(work: Any, repeat: int = 5) -> float:
    """Of processor time, which others on the machine take no part of."""
    work()
    times = []
    for _ in range(repeat):
        begin = time.process_time()
        work()
        times.append(time.process_time() - begin)
    return min(times)


def test_a_round_costs_as_much_as_it_has_edges() -> None:
    costs, edges = [], []
    for side in SIDES:
        net = network(Draws(CPU, 0, np.arange(RUNS)), side**2, "torus")
        x = np.random.default_rng(0).normal(size=(RUNS, side**2, DIM))
        with one_blas_thread():
            costs.append(seconds(lambda net=net, x=x: net.mix(x, 1)) / net.messages)
        edges.append(net.messages // 2)
        print(f"\n{edges[-1]} edges: {1e9 * costs[-1] / (RUNS * DIM):.2f} ns per message, run and coordinate", end="")
    ratios = [cost / costs[0] for cost in costs]
    growth = 1 + float(np.polyfit(np.log(edges), np.log(costs), 1)[0])
    print(f"\ncost per edge, over that of the smallest: {', '.join(f'{ratio:.2f}' for ratio in ratios)}; exponent {growth:.2f}")
    # the largest states leave the cache, which costs some half more; quadratic would be an exponent of 2
    assert growth < 1.3


def test_ten_thousand_agents_in_the_plane() -> None:
    m, dim, runs = 10_000, 100, 16
    begin = time.process_time()
    net = network(Draws(CPU, 0, np.arange(runs)), m, "geometric")
    built = time.process_time() - begin
    x = np.random.default_rng(0).normal(size=(runs, m, dim))
    with one_blas_thread():
        once = seconds(lambda: net.mix(x, 1), repeat=2)
        tracemalloc.start()
        net.mix(x, 1)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    copies = 1 + peak / x.nbytes
    print(f"\n{net.messages // 2} edges, gamma = {net.gap:.2e}, built in {built:.1f} s; a round of {runs} runs, d = {dim}:")
    print(f"{once:.2f} s, {copies:.2f} copies of the state of {x.nbytes / 1e6:.0f} MB")
    assert copies <= 3

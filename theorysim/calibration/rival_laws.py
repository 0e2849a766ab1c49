"""How often the diagnosis names the planted law: text for a reader, on which no verdict rests."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np

from theorysim.calibration.planted import LAWS, Trial
from theorysim.calibration.tally import FREE, Key, Limits, Rate, curve, finding_of
from theorysim.findings import Finding, Panel
from theorysim.lab import Lab
from theorysim.rivals import compare
from theorysim.statistics import log_means

TABLE = "rival laws"
PLANTED = {
    "power": "T^-0.8",
    "power_log": "log T/T",
    "floor": "1/T + 4/T_end",
    "transient": "1/T + 50/T^2",
    "burn_in": "1/(T + 100)",
    "geometric": "exp(-50 T/T_end)",
}
EXPERIMENTS = (("d=10", 64), ("d=10", 256), ("d=100", 64), ("lognormal 1", 64))
WELL_SEEN = (("d=10", 256), ("d=100", 64))
JUDGED: dict[str, Limits] = {"right": (98.0, 100.0), "right and clear": FREE, "wrong and clear": (0.0, 1.0)}


@cache
def named(trial: Trial) -> dict[str, tuple[int, int, int]]:
    """By planted law: how often the best rival is the right one, the right one and clear, a wrong one and clear."""
    counts = dict.fromkeys(PLANTED, (0, 0, 0))
    for noise in trial.batches():
        means = log_means(noise)[0]
        for law, planted in PLANTED.items():
            found = compare(trial.grid, means + np.log(LAWS[planted](trial.grid)), -1.0)
            right, clear = found.best == law, found.clear
            now = right, right & clear, ~right & clear
            first, second, third = (before + int(new.sum()) for before, new in zip(counts[law], now, strict=True))
            counts[law] = first, second, third
    return counts


def rival_rates(
    lab: Lab, experiments: Sequence[tuple[str, int]] = EXPERIMENTS, judged: Sequence[tuple[str, int]] = WELL_SEEN
) -> list[Rate]:
    """Right, right and clear, wrong and clear; limits where 256 seeds with d = 10, or as good ones, show the curve."""
    rates = []
    for place, (noise, seeds) in enumerate(experiments):
        lab.progress(place, len(experiments))
        trial = Trial(noise, seeds, lab.pick(quick=300, full=2000), seed=lab.seed)
        seen = (noise, seeds) in judged
        for law, counts in named(trial).items():
            for (what, limits), count in zip(JUDGED.items(), counts, strict=True):
                key = Key(TABLE, f"{law}: {what}", f"{noise}, R={seeds}")
                rates.append(Rate(key, count, trial.replicates, limits if seen else FREE))
    lab.progress(len(experiments), len(experiments))
    return rates


def rival_laws_are_told_apart(
    lab: Lab, experiments: Sequence[tuple[str, int]] = EXPERIMENTS, judged: Sequence[tuple[str, int]] = WELL_SEEN
) -> Finding:
    """With enough seeds the diagnosis of an undecided rate names the planted law."""
    rates = rival_rates(lab, experiments, judged)
    places = [float(place) for place in range(1, len(experiments) + 1)]
    series = []
    for law in PLANTED:
        keys = [Key(TABLE, f"{law}: right", f"{noise}, R={seeds}") for noise, seeds in experiments]
        series.append(curve(rates, law, keys, places))
    title = "; ".join(f"{place:g}: {noise}, R={seeds}" for place, (noise, seeds) in zip(places, experiments, strict=True))
    panel = Panel(f"right law named. {title}", "experiment", "right, %", tuple(series), log_x=False, log_y=False)
    return finding_of(rates, "rival laws", (panel,))

"""The error rates that the specification of the verdict rule documents, in percent, as they are printed there.

Each was measured with a finite number of replicates and rounded, and both are kept: ``.3`` is known to 0.05, ``17`` to 0.5.
The figures on rival laws are not here: they were measured with exponents on a coarse grid (steps of about 0.05), which the
fit of rivals.py has not.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

REPLICATES, SEQUENTIAL_REPLICATES = 1000, 400  # the text says 600-6000, and 400 for growing seeds


@dataclass(frozen=True)
class Documented:
    """A printed rate or range of rates ``low`` to ``high``, each known to ``rounding``."""

    text: str
    low: float
    high: float
    rounding: float
    replicates: int

    @property
    def middle(self) -> float:
        return (self.low + self.high) / 2


def documented(text: str, replicates: int) -> Documented:
    """The rate printed as ``17``, ``.3``, ``.4-.9`` or ``<=.1``."""
    ends = ["0", text[2:]] if text.startswith("<=") else text.split("-")
    digits = max(len(end.partition(".")[2]) for end in ends)
    return Documented(text, float(ends[0]), float(ends[-1]), 0.5 * 10.0**-digits, replicates)


_SEEDS = (8, 16, 32, 64, 256)

# The 95 % interval of theta: t with R - 1, then with Kish's degrees of freedom; at R = 256 one figure was printed.
_COVERAGE = {
    "d=10": "94.2/94.5 95.2/95.3 95.0/95.0 95.4/95.5 95.9",
    "d=1": "93.2/94.7 94.0/94.7 94.0/94.5 94.7/95.0 96.2",
    "fresh": "95.1/95.2 95.3/95.3 95.0/95.0 94.8/94.8 94.9",
    "lognormal 1": "90.8/95.5 92.6/95.1 93.0/94.8 93.2/93.9 96.2",
    "lognormal 2": "87.2/97.6 87.2/96.6 89.2/96.1 90.9/95.7 95.5",
    "Pareto 3": "94.4/95.2 94.1/94.7 94.6/94.8 94.7/94.8 95.1",
    "5 % x20": "92.3/96.3 91.7/96.8 90.8/95.0 91.4/94.3 94.1",
}

# CONSISTENT/VIOLATED at a fixed number of seeds.
_COLUMNS = (*(f"d=10, R={r}" for r in (8, 16, 32, 64, 128, 256)), *(f"d=100, R={r}" for r in (8, 16, 32)),
            "lognormal 1, R=64", "lognormal 1, R=256")  # fmt: skip
_NEVER = " ".join(["0/0"] * len(_COLUMNS))
_FIXED = {
    "1/T as T^-1": "0/0 0/0 .3/0 17/0 74/0 99/0 24/0 80/0 100/0 1/0 54/0",
    "T^-0.9 as T^-1": "0/.1 0/.1 0/.5 .1/.7 1/.9 2.2/1.8 .2/.3 .7/.8 1.4/1.0 0/.2 .7/.8",
    "T^-0.85 as T^-1": "0/1 0/5 0/20 0/56 0/91 0/100 0/45 0/93 0/100 0/18 0/80",
    "T^-0.8 as T^-1": "0/4 0/18 0/53 0/87 0/99.7 0/100 0/80 0/99.6 0/100 0/46 0/96",
    "log T/T as T^-1": "0/1 0/3 0/4 0/7 0/16 0/2 0/5 0/9 0/1 0/6 0/15",
    "log T/T as T^-0.81": "0/0 0/0 .1/0 .7/0 .5/0 .5/0 1.1/0 .8/0 .5/0 .1/0 .8/0",
    "1/T + 10/T^2 as T^-1": _NEVER,
    "1/T + 10/T^2 as T^-1.07": _NEVER,
    "1/T + 50/T^2 as T^-1": _NEVER,
    "1/T + 50/T^2 as T^-1.23": _NEVER,
    "1/T + 0.3/T_end as T^-1": "0/0 0/0 0/0 2.5/0 7/0 8/0 4/0 6/0 7/0 .4/0 6/0",
    "1/T + 4/T_end as T^-1": "0/73 0/99.8 0/100 0/100 0/100 0/100 0/100 0/100 0/100 0/99 0/100",
}

# Single figures: (table, row, column) -> rate.
_SINGLE = {
    **{("64 to 65536", "1/T as T^-1: CONSISTENT", f"d=10, R={r}"): p for r, p in ((64, ".9"), (128, "38"), (256, "89"))},
    **{("64 to 65536", "T^-0.8 as T^-1: VIOLATED", f"d=10, R={r}"): p
       for r, p in ((8, "9"), (16, "33"), (32, "74"), (64, "98"))},
    **{("64 to 65536", "log T/T as T^-0.86: CONSISTENT", f"d=10, R={r}"): "<=1.0" for r in (8, 16, 32, 64, 128, 256)},
    **{("one-sided", "T^-1.2 as at most T^-1: CONSISTENT", f"d=10, R={r}"): p
       for r, p in ((8, "35"), (16, "72"), (32, "97"), (64, "100"))},
    **{("one-sided", "1/T as at most T^-1: CONSISTENT", f"d=10, R={r}"): p
       for r, p in ((8, "5"), (16, "12"), (32, "27"), (64, "54"), (128, "83"), (256, "99"))},
    **{("bound in expectation", "tight: VIOLATED", f"{noise}, R={r}"): p for r in (8, 32, 64, 256)
       for noise, p in (("d=10", ".4-.9"), ("d=1", ".1-.4"), ("lognormal 1", "<=.1"), ("fresh", ".6-.9"))},
    **{("bound in expectation", "exceeded by 25 %: VIOLATED", f"d=10, R={r}"): p
       for r, p in ((8, "11"), (32, "89"), (64, "99.9"), (256, "100"))},
    **{("bound in expectation", "exceeded by 25 %: VIOLATED", f"lognormal 1, R={r}"): p
       for r, p in ((8, ".1"), (32, ".5"), (64, "2.6"), (256, "36"))},
    **{("transients", f"{law} as T^-1: VIOLATED", "worst of all noise, R = 8 to 64"): p for law, p in (
        *((f"1/T + {c}/T^2", "0.0") for c in (5, 20, 100, 500, 2000)), ("1/T + 5000/T^2", "1.0-1.1"),
        *((f"1/(T + {c})", "0.0") for c in (5, 20, 100, 500, 2000)), ("1/(T + 5000)", "1.0-1.1"),
        *((f"(1 {c:+}/sqrt T)/T", "<=.2") for c in (-2, 2, 5)), ("(1 +10/sqrt T)/T", "1.0"), ("(1 +15/sqrt T)/T", "1.2"),
        ("(1 +30/sqrt T)/T", "1.9"))},
    ("transients", "(1 +100/sqrt T)/T as T^-1: VIOLATED", "d=10, R=64"): "28",
    **{("growing seeds", f"{law} as T^-1: {what}", "d=10 to 512"): p
       for law in ("1/T", "T^-0.9", "T^-0.8", "T^-1.2")
       for what, p in (("plain interval covers", "94.2-96.2"), ("interval at the look's share covers", "97.5-100"))},
    ("upper 98 % limit", "log scale: covers", "lognormal 1, R=8"): "92",
    ("upper 98 % limit", "log scale: covers", "lognormal 1, R=32"): "93",
    ("upper 98 % limit", "plain scale: covers", "lognormal 1, R=8"): "87",
    ("upper 98 % limit", "plain scale: covers", "lognormal 1, R=32"): "89",
    ("upper 98 % limit", "plain scale, t with R - 1: covers", "lognormal 1, R=8"): "83",
    ("upper 98 % limit", "plain scale, t with R - 1: covers", "lognormal 1, R=32"): "88",
}  # fmt: skip

# CONSISTENT, UNDECIDED and VIOLATED while the seeds grow.
_GROWING = {
    ("1/T as T^-1", "d=10 to 512"): "100 0 0",
    ("T^-0.9 as T^-1", "d=10 to 512"): "1.2 98 .8",
    ("T^-0.8 as T^-1", "d=10 to 512"): "0 0 100",
    ("T^-1.2 as T^-1", "d=10 to 512"): "0 0 100",
    ("log T/T as T^-1", "d=10 to 512"): "0 92 8",
    ("log T/T as T^-0.81", "d=10 to 512"): ".5 99.5 0",
    ("1/T + 10/T^2 as T^-1", "d=10 to 512"): "0 100 0",
    ("1/T + 500/T^2 as T^-1", "d=10 to 512"): "0 100 0",
    ("1/(T + 100) as T^-1", "d=10 to 512"): "0 100 0",
    ("1/T + 4/T_end as T^-1", "d=10 to 512"): "0 0 100",
    ("1/T as T^-1", "lognormal 1 to 512"): "90 10 0",
    ("T^-0.8 as T^-1", "lognormal 1 to 512"): "0 .5 99.5",
    ("1/T as T^-1", "d=100 to 64"): "100 0 0",
    ("T^-0.8 as T^-1", "d=100 to 64"): "0 0 100",
}

MEDIAN_SEEDS = {
    **{(case, "d=10 to 512"): seeds for case, seeds in {
        "1/T as T^-1": 256, "T^-0.9 as T^-1": 512, "T^-0.8 as T^-1": 64, "T^-1.2 as T^-1": 64, "log T/T as T^-1": 512,
        "log T/T as T^-0.81": 512, "1/T + 10/T^2 as T^-1": 512, "1/T + 500/T^2 as T^-1": 512, "1/(T + 100) as T^-1": 512,
        "1/T + 4/T_end as T^-1": 16}.items()},
    ("1/T as T^-1", "lognormal 1 to 512"): 512, ("T^-0.8 as T^-1", "lognormal 1 to 512"): 128,
    ("1/T as T^-1", "d=100 to 64"): 32, ("T^-0.8 as T^-1", "d=100 to 64"): 16,
}  # fmt: skip


def _all() -> Iterator[tuple[tuple[str, str, str], Documented]]:
    for noise, cells in _COVERAGE.items():
        for seeds, cell in zip(_SEEDS, cells.split(), strict=True):
            student, _, kish = cell.rpartition("/")
            yield ("intervals", "theta", f"{noise}, R={seeds}"), documented(kish, REPLICATES)
            if student:
                yield ("intervals, t with R - 1", "theta", f"{noise}, R={seeds}"), documented(student, REPLICATES)
    for case, cells in _FIXED.items():
        for column, cell in zip(_COLUMNS, cells.split(), strict=True):
            for verdict, text in zip(("CONSISTENT", "VIOLATED"), cell.split("/"), strict=True):
                yield ("16 to 4096", f"{case}: {verdict}", column), documented(text, REPLICATES)
    for key, text in _SINGLE.items():
        yield key, documented(text, REPLICATES)
    for (case, column), cells in _GROWING.items():
        for verdict, text in zip(("CONSISTENT", "UNDECIDED", "VIOLATED"), cells.split(), strict=True):
            yield ("growing seeds", f"{case}: {verdict}", column), documented(text, SEQUENTIAL_REPLICATES)


DOCUMENTED: dict[tuple[str, str, str], Documented] = dict(_all())

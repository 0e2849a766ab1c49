"""Error levels shared out: among the looks of a growing set of seeds, and among the claims of a paper.

A look at R = 8, 16, 32, ... seeds may spend a fixed share of the level; half of it is left for the last look. Claims of one
paper are corrected by Holm. Nothing becomes more certain here than its own p-value says.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from math import isfinite, log2

from theorysim.findings import Evidence, Finding, Verdict, together
from theorysim.model import MIN_SEEDS
from theorysim.statistics import LEVEL_CONSISTENT, LEVEL_VIOLATED, holm


def number_of_looks(max_seeds: int) -> int:
    """Looks at 8, 16, 32, ... seeds up to ``max_seeds``, at least one."""
    return 1 + max(0, int(log2(max_seeds / MIN_SEEDS)))


def share_of_look(look: int, looks: int) -> float:
    """The part of the error level that look 0, 1, ..., looks - 1 may spend; each spends twice its predecessor's, in all 1."""
    return float(2.0 ** (look - looks) / (1 - 2.0**-looks))


def judged(findings: Sequence[Finding], shares: Sequence[float]) -> list[Finding]:
    """The findings on the claims of one paper, each at the share of the error level that its look may spend, under Holm.

    VIOLATED: Holm over all numbers judged against noise, for any of them violates its claim. CONSISTENT: Holm over the claims
    that hold such numbers, for a claim needs them all. Findings without noise take no part and stay as they are.
    """
    found = [[leaf.evidence for leaf in finding.leaves() if leaf.evidence] for finding in findings]
    numbers = [_p_violated(e, share) for evidence, share in zip(found, shares, strict=True) for e in evidence]
    claims = [max(e.p_consistent for e in evidence) / share for evidence, share in zip(found, shares, strict=True) if evidence]
    by_number, by_claim = iter(holm(numbers)), iter(holm(claims))
    corrected = []
    for finding, evidence, share in zip(findings, found, shares, strict=True):
        p_violated = [float(next(by_number)) for _ in evidence]
        p_consistent = float(next(by_claim)) if evidence else 0.0
        corrected.append(_with_leaves(finding, iter(_decided(finding, p_violated, p_consistent, share))))
    return corrected


def _p_violated(e: Evidence, share: float) -> float:
    """1 where a drift back to the claim forbids the verdict: then it must not stand before others in Holm's order either."""
    return e.p_violated / share if e.p_drift >= share * LEVEL_CONSISTENT else 1.0


def _decided(finding: Finding, p_violated: Sequence[float], p_consistent: float, share: float) -> list[Finding]:
    """The leaves under corrected p-values; of several consistent ones the least certain answers for the claim."""
    left, leaves = iter(p_violated), []
    weakest = max((leaf.evidence.p_consistent for leaf in finding.leaves() if leaf.evidence), default=0.0)
    for leaf in finding.leaves():
        if (e := leaf.evidence) is None:
            leaves.append(leaf)
            continue
        inside = p_consistent if e.p_consistent == weakest else e.p_consistent / share
        leaves.append(_decide(leaf, e, next(left), inside, share))
    return leaves


def _decide(leaf: Finding, e: Evidence, p_violated: float, p_consistent: float, share: float) -> Finding:
    from scipy.special import stdtrit

    reach = float(stdtrit(e.df, 1 - share * 0.025) * e.error)
    details = {**leaf.details, "level share": share, "interval half-width at this share": reach if isfinite(reach) else None}
    if p_violated < LEVEL_VIOLATED:
        return replace(leaf, verdict=Verdict.VIOLATED, reason=e.violated, details=details)
    if p_consistent < LEVEL_CONSISTENT:
        return replace(leaf, verdict=Verdict.CONSISTENT, reason=e.consistent, details=details)
    if leaf.verdict is Verdict.UNDECIDED:
        return replace(leaf, details=details)
    p, level = (p_violated, LEVEL_VIOLATED) if leaf.verdict is Verdict.VIOLATED else (p_consistent, LEVEL_CONSISTENT)
    doubt = f"but p = {p:.2g}, corrected for looks and claims, is not below {level:g} at {e.seeds} seeds"
    return replace(leaf, verdict=Verdict.UNDECIDED, reason=f"{leaf.reason}; {doubt}", details=details)


def _with_leaves(finding: Finding, leaves: Iterator[Finding]) -> Finding:
    """The finding over other leaves, in order; its own verdict and reason follow from them."""
    if not finding.parts:
        return next(leaves)
    parts = [_with_leaves(part, leaves) for part in finding.parts]
    again = together(*parts, label=finding.label)
    return replace(finding, parts=tuple(parts), verdict=again.verdict, reason=again.reason)


def open_to_seeds(finding: Finding) -> bool:
    """Is it undecided, and could more seeds decide it?"""
    leaves = finding.leaves()
    return finding.verdict is Verdict.UNDECIDED and any(leaf.evidence and leaf.verdict is Verdict.UNDECIDED for leaf in leaves)

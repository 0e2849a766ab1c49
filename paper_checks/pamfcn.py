"""Parametrized accelerated methods free of condition number (Liu, Belkin, 2018): the claims, the headline first.

The paper and the notation are in _pamfcn_paper.py. Importing a part registers its claims, so the order here is the report's.
"""

# isort: off
from theorysim.paper_checks import _pamfcn_misestimated  # noqa: F401
from theorysim.paper_checks import _pamfcn_free  # noqa: F401
from theorysim.paper_checks import _pamfcn_rates  # noqa: F401
from theorysim.paper_checks import _pamfcn_bounds  # noqa: F401
from theorysim.paper_checks import _pamfcn_limits  # noqa: F401
from theorysim.paper_checks import _pamfcn_assumptions  # noqa: F401
from theorysim.paper_checks._pamfcn_paper import PAPER

__all__ = ["PAPER"]

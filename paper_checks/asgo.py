"""ASGO: Adaptive Structured Gradient Optimization (An and others; NeurIPS 2025): the claims, the headline first.

The paper and the notation are in _asgo_paper.py. Importing a part registers its claims, so the order here is the report's.
"""

# isort: off
from theorysim.paper_checks import _asgo_dimension  # noqa: F401
from theorysim.paper_checks import _asgo_rank  # noqa: F401
from theorysim.paper_checks import _asgo_regret  # noqa: F401
from theorysim.paper_checks import _asgo_smooth  # noqa: F401
from theorysim.paper_checks import _asgo_convex  # noqa: F401
from theorysim.paper_checks import _asgo_rates  # noqa: F401
from theorysim.paper_checks import _asgo_hessian  # noqa: F401
from theorysim.paper_checks import _asgo_assumptions  # noqa: F401
from theorysim.paper_checks import _asgo_baselines  # noqa: F401
from theorysim.paper_checks import _asgo_comparison  # noqa: F401
from theorysim.paper_checks import _asgo_iteration  # noqa: F401
from theorysim.paper_checks import _asgo_singular_values  # noqa: F401
from theorysim.paper_checks import _asgo_muon  # noqa: F401
from theorysim.paper_checks import _asgo_practice  # noqa: F401
from theorysim.paper_checks import _asgo_cost  # noqa: F401
from theorysim.paper_checks import _asgo_data  # noqa: F401
from theorysim.paper_checks import _asgo_structure  # noqa: F401
from theorysim.paper_checks._asgo_paper import PAPER

__all__ = ["PAPER"]

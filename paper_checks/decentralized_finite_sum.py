"""Decentralized convex finite-sum optimization with better dependence on condition numbers (Liu, Chen, Luo, 2024): the claims,
the headline first.

The paper and the notation are in _decentralized_paper.py. Importing a part registers its claims, so the order here is the
report's.
"""

# isort: off
from theorysim.paper_checks import _decentralized_katyusha  # noqa: F401
from theorysim.paper_checks import _decentralized_networks  # noqa: F401
from theorysim.paper_checks import _decentralized_placement  # noqa: F401
from theorysim.paper_checks import _decentralized_gossip  # noqa: F401
from theorysim.paper_checks import _decentralized_svrg  # noqa: F401
from theorysim.paper_checks import _decentralized_certified  # noqa: F401
from theorysim.paper_checks import _decentralized_practice  # noqa: F401
from theorysim.paper_checks import _decentralized_baselines  # noqa: F401
from theorysim.paper_checks import _decentralized_simulation  # noqa: F401
from theorysim.paper_checks import _decentralized_assumptions  # noqa: F401
from theorysim.paper_checks._decentralized_paper import PAPER

__all__ = ["PAPER"]

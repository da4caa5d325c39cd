"""The gates by name, in the order in which a model meets them."""

from __future__ import annotations

GATES = ("data", "candidate", "staging", "champion")
"""Those of the road to a promotion: each has at least one check."""
ALL_GATES = (*GATES, "probation")
"""With the one that follows the promotion."""
EARLIER_GATES = GATES[:-1]
"""Those whose decisions the champion gate's decision names by digest."""

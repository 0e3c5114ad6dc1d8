"""Pictures of results: each function takes results and returns a matplotlib Figure."""

from bayes_gmm.results.plots.checks import checks
from bayes_gmm.results.plots.forest import comparison
from bayes_gmm.results.plots.mixture import mixture
from bayes_gmm.results.plots.ranks import ranks
from bayes_gmm.results.plots.selection import selection
from bayes_gmm.results.plots.trajectory import em_trajectory

__all__ = ["checks", "comparison", "em_trajectory", "mixture", "ranks", "selection"]

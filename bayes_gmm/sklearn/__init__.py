"""The mixture as a scikit-learn estimator: its names and conventions outside, our engine inside.

Imported by the user, `from bayes_gmm.sklearn import GaussianMixture`; the rest of the package knows
nothing of it.
"""

from bayes_gmm.sklearn.errors import CollapseError, ConvergenceWarning
from bayes_gmm.sklearn.estimator import GaussianMixture

__all__ = ["CollapseError", "ConvergenceWarning", "GaussianMixture"]

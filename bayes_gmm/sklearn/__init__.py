"""The mixture as a scikit-learn estimator: `from bayes_gmm.sklearn import GaussianMixture`.

Names and conventions are those of scikit-learn; the algorithms are those of this package. No other
module imports this one.
"""

from bayes_gmm.sklearn.estimator import CollapseError, ConvergenceWarning, GaussianMixture

__all__ = ["CollapseError", "ConvergenceWarning", "GaussianMixture"]

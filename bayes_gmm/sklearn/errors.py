"""Exceptions that can be caught as this package's or as scikit-learn's."""

from sklearn.exceptions import ConvergenceWarning as TheirConvergenceWarning

from bayes_gmm.errors import CollapseError as OurCollapseError
from bayes_gmm.errors import ConvergenceWarning as OurConvergenceWarning


class CollapseError(OurCollapseError, ValueError):
    """A component collapsed in every EM run; scikit-learn raises a ValueError for it."""


class ConvergenceWarning(OurConvergenceWarning, TheirConvergenceWarning):
    """EM stopped before it converged."""

"""What goes wrong has two names here, ours and scikit-learn's, and can be caught under either."""

from sklearn.exceptions import ConvergenceWarning as TheirConvergenceWarning

from bayes_gmm.errors import CollapseError as OurCollapseError
from bayes_gmm.errors import ConvergenceWarning as OurConvergenceWarning


class CollapseError(OurCollapseError, ValueError):
    """Every start of EM lost a component; scikit-learn raises a ValueError for it."""


class ConvergenceWarning(OurConvergenceWarning, TheirConvergenceWarning):
    """EM stopped before it had converged."""

"""The package's exceptions: two errors and five warnings."""

from collections.abc import Sequence
from numbers import Integral
from typing import Any

__all__ = [
    "CollapseError",
    "CollapseWarning",
    "ConvergenceWarning",
    "FileFormatWarning",
    "IdentificationWarning",
    "InputError",
    "OutlierWarning",
    "require_whole",
]


class InputError(ValueError):
    """The input cannot be used as it is.

    The message names the input, says what is wrong with it (with row, column and count where they
    apply) and what to do; several faults take one line each. The command line prints the message
    and exits with code 2.
    """


class CollapseError(RuntimeError):
    """A component collapsed in every EM run, so that there is no estimate to return.

    The likelihood of a Gaussian mixture is unbounded: it tends to infinity as the covariance of a
    component shrinks onto a single row or onto a hyperplane. Use fewer components, or a prior.

    Parameters
    ----------
    message : str
    collapses : sequence
        The components that collapsed, with their last valid parameters, where these are known.
    """

    def __init__(self, message: str, collapses: Sequence[Any] = ()) -> None:
        super().__init__(message)
        self.collapses = collapses


class ConvergenceWarning(UserWarning):
    """An algorithm stopped before it converged: EM at `max_iter`, or a sampler interrupted."""


class CollapseWarning(UserWarning):
    """Components collapsed in some EM runs or refits, and the result uses the others.

    From `fit`: many EM runs collapsed where the likelihood is unbounded, on a repeated value or on
    the same few rows. From a bootstrap: some refits collapsed, and the standard errors come from
    the others.
    """


class OutlierWarning(UserWarning):
    """One row, or a few rows, far from all others determine a component."""


class FileFormatWarning(UserWarning):
    """A file is not a plain CSV file in UTF-8; the message says how it was read."""


class IdentificationWarning(UserWarning):
    """Some components cannot be distinguished from each other, so their labels mean little.

    Label-invariant quantities (densities, predictions, the group `invariants` of a posterior
    result) remain valid; statements about "component 2" do not.
    """


def require_whole(name: str, value: Any, least: int) -> None:
    """Check that an argument is a whole number that is large enough."""
    if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
        raise InputError(f"{name} must be a whole number >= {least}; got {value!r}")

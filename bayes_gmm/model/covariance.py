r"""The 14 covariance structures: which parts of Sigma_k the components share.

    Sigma_k = lambda_k D_k A_k D_k'          volume, orientation, shape (|A_k| = 1)

A structure is three letters, for volume, shape and orientation: E is equal over the components, V
is varying, I is the identity. Given each component's scatter W_k and weight w_k, the M-step
minimizes

    sum_k  w_k log|Sigma_k| + tr(W_k Sigma_k^-1)

over the structure. How, is told in `shared_parts`.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from bayes_gmm.errors import InputError
from bayes_gmm.model import shared_parts
from bayes_gmm.model.families import DIAGONALS, MATRICES, SPHERES, Family

if TYPE_CHECKING:
    from bayes_gmm.data import Observations

CODES = (
    "EII",
    "VII",
    "EEI",
    "VEI",
    "EVI",
    "VVI",
    "EEE",
    "VEE",
    "EVE",
    "VVE",
    "EEV",
    "VEV",
    "EVV",
    "VVV",
)
ALIASES = {"spherical": "VII", "diag": "VVI", "tied": "EEE", "full": "VVV"}

MATRIX_CODES = ("EEE", "VEE", "EVV", "VVV")  # conditions on whole matrices, not on their axes
DRAWN = ("EII", "VII", "EEI", "VVI", "EEE", "VVV")  # all or nothing is shared: conjugate


class Structure(NamedTuple):
    """A covariance structure by its code, such as VEI.

    Attributes
    ----------
    volume : str
        E or V.
    shape, orientation : str
        I, E or V.
    """

    volume: str
    shape: str
    orientation: str

    @classmethod
    def of(cls, name: str, n_features: int) -> "Structure":
        """Look a structure up by its code or alias.

        Parameters
        ----------
        name : str
            One of `CODES`, of `ALIASES`, or E or V for one feature.
        n_features : int
            With one feature there is only a variance: every code is EII or VII by its first letter.

        Returns
        -------
        Structure

        Raises
        ------
        InputError
            If there is no such structure.
        """
        code = ALIASES.get(name, name) if isinstance(name, str) else ""
        if n_features == 1 and code in ("E", "V"):
            code += "II"
        if code not in CODES:
            raise InputError(
                f"covariance is {name!r}; choose one of {', '.join(CODES)}, or {', '.join(ALIASES)}"
            )
        return cls(code[0], "I", "I") if n_features == 1 else cls(*code)

    @classmethod
    def named(cls, name: str, n_features: int) -> "Structure":
        """Look a structure up, of one feature as a matrix where no component shares it: VVV."""
        found = cls.of(name, n_features)
        return UNCONSTRAINED if found.is_unconstrained(n_features) else found

    @property
    def code(self) -> str:
        """Three letters."""
        return "".join(self)

    def label(self, n_features: int) -> str:
        """Return what the structure is called: its code, or E or V for one feature."""
        return self.volume if n_features == 1 else self.code

    @property
    def is_equivariant(self) -> bool:
        """Whether features may change their units one by one without leaving the structure.

        Spheres and rotated axes that are shared, or shapes that are, mix the features' units.
        """
        return (self.orientation == "I" and self.shape != "I") or self.code in MATRIX_CODES

    def is_unconstrained(self, n_features: int) -> bool:
        """Whether every component has a covariance of its own, of any form."""
        return self.code == "VVV" or (n_features == 1 and self.volume == "V")

    @property
    def is_common(self) -> bool:
        """Whether all components have one and the same covariance."""
        return "V" not in self

    @property
    def is_drawn(self) -> bool:
        """Whether the conjugate prior stays conjugate, so that covariances are drawn directly."""
        return self.code in DRAWN

    @property
    def covariance_family(self) -> Family:
        """What a single covariance may be."""
        if self.orientation != "I":
            return MATRICES
        return SPHERES if self.shape == "I" else DIAGONALS

    def own_parameters(self, n_features: int) -> int:
        """Count the covariance parameters that each component has for itself.

        Parameters
        ----------
        n_features : int

        Returns
        -------
        int
        """
        sizes = 1, n_features - 1, n_features * (n_features - 1) // 2
        return sum(size for letter, size in zip(self, sizes, strict=True) if letter == "V")

    def n_free(self, n_components: int, n_features: int) -> int:
        """Count the free parameters of a mixture: of weights, means and covariances.

        Parameters
        ----------
        n_components, n_features : int

        Returns
        -------
        int
        """
        of_covariances = self.n_parameters(n_components, n_features)
        return n_components - 1 + n_components * n_features + of_covariances

    def n_parameters(self, n_components: int, n_features: int) -> int:
        """Count the free parameters of all covariances together.

        Parameters
        ----------
        n_components, n_features : int

        Returns
        -------
        int

        References
        ----------
        Celeux & Govaert (1995), Table 1.
        """
        times = {"I": 0, "E": 1, "V": n_components}
        rotation = n_features * (n_features - 1) // 2
        return (
            times[self.volume]
            + times[self.shape] * (n_features - 1)
            + times[self.orientation] * rotation
        )

    @property
    def family(self) -> Callable[..., np.ndarray]:
        """The function of `shared_parts` that finds the best covariances of this structure.

        Its arguments are `scatter` (K, D, D), `weight` (K,), `previous` (K, D, D) and whether the
        volume and the shape are equal; it returns covariances (K, D, D).
        """
        if self.shape == "I":
            return shared_parts.spherical
        if self.orientation == "I":
            return shared_parts.along_axes
        if self.orientation == "E":
            return shared_parts.one_matrix if self.shape == "E" else shared_parts.along_common_axes
        return shared_parts.unconstrained if self.code == "VVV" else shared_parts.along_own_axes

    def standardized(self, observations: "Observations") -> "Observations":
        """Choose the coordinates of a pass: each feature in its own sd, where the structure allows.

        Parameters
        ----------
        observations : Observations

        Returns
        -------
        Observations
            The same rows, with one scale for all features where other units would be another model.
        """
        if self.is_equivariant:
            return observations
        common = np.exp(np.log(observations.scale).mean())
        return replace(observations, scale=np.full(observations.n_features, common))

    def covariances(
        self, scatter: np.ndarray, weight: np.ndarray, previous: np.ndarray
    ) -> np.ndarray:
        """Best covariances of this structure.

        Parameters
        ----------
        scatter : ndarray (K, D, D)
            W_k.
        weight : ndarray (K,)
            w_k.
        previous : ndarray (K, D, D)
            Covariances of this structure from which an inner iteration sets out.

        Returns
        -------
        ndarray (K, D, D)

        References
        ----------
        Celeux & Govaert (1995), Pattern Recognition 28, 781-793.
        """
        return self.family(scatter, weight, previous, self.volume == "E", self.shape == "E")


UNCONSTRAINED = Structure("V", "V", "V")

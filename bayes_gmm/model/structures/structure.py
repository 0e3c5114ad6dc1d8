r"""What a covariance structure is: the protocol that every family of structures answers.

A structure says which covariances Sigma_1..K the components may have together. Whoever fits,
counts, draws or describes them asks the structure, and nobody else knows its name. What is asked:

* the M-step, for scatters W_k and weights w_k (`maximize`, compiled as it stands): the minimum of

      sum_k  w_k log|Sigma_k| + tr(W_k Sigma_k^-1)

* conjugate densities  log p(Sigma) = -1/2 {c log|Sigma| + tr(P Sigma^-1)} + constant: what c is
  under the prior (`share`, `power`), the constant (`log_integral`), what variational Bayes expects
  (`expectations`) and a draw (`draw_one`, compiled as it stands), where there is one;
* coordinates u without bounds, as many as free parameters. Every component has entries e_k of its
  own, which are linear in u, e_k = basis u_k; `blocks` says which of a component's coordinates all
  components share. A family gives entries of covariances and back, and the pull-back of a gradient;
* in which frame a covariance is to first order Sigma_k = R_k (I + M_k) R_k', M_k linear in u
  (`frames`), for standard errors.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from bayes_gmm.errors import InputError

if TYPE_CHECKING:
    from bayes_gmm.data import Observations

Project = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]

ALIASES = {"spherical": "VII", "diag": "VVI", "tied": "EEE", "full": "VVV"}
_REGISTERED: dict[str, "Structure"] = {}


class Structure:
    """The base of all structures, with what most of them have in common.

    `maximize` and `draw_one` are plain functions in NumPy and loops, because `kernels` compiles
    their source; both get `constants`, numbers by which structures of one function differ.

        maximize(scatter (K, D, D), weight (K,), previous (K, D, D), constants) -> (K, D, D)
        draw_one(rng, degrees, scale (D, D), constants, root, whitener, covariance) -> float

    `draw_one` draws a covariance of the density with c = degrees + D + 1 and P = scale, of which it
    reads the lower triangle and may overwrite it. It writes the covariance, a lower triangular root
    and its inverse (what is above their diagonals is zero already), and returns the logarithm of
    the determinant of that inverse, or nan if rounding has left no covariance. `integrate_one` is
    `log_integral` in loops, of which the moves that split and merge clusters are made:

        integrate_one(degrees, scale (D, D), constants) -> float
    """

    name: str
    constants: np.ndarray = np.zeros(1)
    is_common = False  # all components have one and the same covariance
    is_equivariant = False  # features may change their units one by one within the structure
    whiteners = "own"  # what a pass may rely on: "diagonal", "one" for all components, or "own"
    wider = "VVV"  # a structure that is drawn and has all covariances that this one has
    turns = True  # whether entries are pairs of features, or only the D diagonal ones
    maximize: ClassVar[Callable[..., np.ndarray]]
    draw_one: ClassVar[Callable[..., float] | None] = None
    integrate_one: ClassVar[Callable[..., float] | None] = None

    # Names.

    @classmethod
    def of(cls, name: str, n_features: int) -> "Structure":
        """Look a structure up by its name or alias; E or V for one feature.

        With one feature there is only a variance: every structure is EII or VII.
        """
        code = ALIASES.get(name, name) if isinstance(name, str) else ""
        if n_features == 1 and code in ("E", "V"):
            code += "II"
        if code not in _REGISTERED:
            raise InputError(
                f"covariance is {name!r}; choose one of {', '.join(names())}, "
                f"or {', '.join(ALIASES)}"
            )
        found = _REGISTERED[code]
        if n_features == 1:
            found = _REGISTERED["EII" if found.label(1) == "E" else "VII"]
        return found

    @classmethod
    def named(cls, name: str, n_features: int) -> "Structure":
        """Look a structure up, of one feature as a matrix where no component shares it: VVV."""
        found = cls.of(name, n_features)
        return _REGISTERED["VVV"] if found.is_unconstrained(n_features) else found

    def label(self, n_features: int) -> str:
        """What the structure is called: its name, or E or V for one feature."""
        if n_features > 1:
            return self.name
        return "E" if self.is_common else "V"

    # What is asked of the whole.

    @property
    def is_diagonal(self) -> bool:
        """Whether every covariance is diagonal."""
        return self.whiteners == "diagonal"

    @property
    def is_drawn(self) -> bool:
        """Whether the conjugate prior stays conjugate, so that covariances are drawn directly."""
        return self.draw_one is not None

    def is_unconstrained(self, n_features: int) -> bool:
        """Whether every component has a covariance of its own, of any form."""
        return n_features == 1 and not self.is_common

    def standardized(self, observations: "Observations") -> "Observations":
        """The same rows with one scale for all features, where other units were another model."""
        if self.is_equivariant:
            return observations
        common = np.exp(np.log(observations.scale).mean())
        return replace(observations, scale=np.full(observations.n_features, common))

    def covariances(
        self, scatter: np.ndarray, weight: np.ndarray, previous: np.ndarray
    ) -> np.ndarray:
        """Best covariances (K, D, D); from `previous` an inner iteration sets out."""
        return self.maximize(scatter, weight, previous, self.constants)

    # Counts.

    def blocks(self, n_features: int) -> list[tuple[int, bool]]:
        """A component's coordinates in order: how many, and whether they are its own."""
        raise NotImplementedError

    def own_parameters(self, n_features: int) -> int:
        """Covariance parameters that each component has for itself."""
        return sum(size for size, is_own in self.blocks(n_features) if is_own)

    def n_parameters(self, n_components: int, n_features: int) -> int:
        """Free parameters of all covariances together."""
        return sum(
            size * (n_components if is_own else 1) for size, is_own in self.blocks(n_features)
        )

    def n_free(self, n_components: int, n_features: int) -> int:
        """Free parameters of a mixture: of weights, means and covariances."""
        of_covariances = self.n_parameters(n_components, n_features)
        return n_components - 1 + n_components * n_features + of_covariances

    # The conjugate prior.

    def full(self, n_features: int) -> int:
        """Parameters of one covariance of this kind, if none of them were bound to be equal."""
        return n_features

    def share(self, n_components: int, n_features: int) -> float:
        """How much of the prior of K covariances counts: what stands for several counts once."""
        everything = n_components * self.full(n_features)
        return self.n_parameters(n_components, n_features) / everything

    def power(self, degrees: np.ndarray, n_features: int) -> np.ndarray:
        """C under Sigma ~ IW(degrees, .), before `share`: as for variances along known axes."""
        return degrees - n_features + 3

    def log_integral(self, power: float, scale: np.ndarray) -> float:
        """Log of the integral of |Sigma|^(-c/2) exp(-tr(P Sigma^-1) / 2) over one covariance."""
        raise NotImplementedError

    def expectations(self, power: float, scale: np.ndarray) -> tuple[float, np.ndarray]:
        """E log|Sigma^-1| and the inverse of E Sigma^-1 (D, D) under that density."""
        raise NotImplementedError

    def log_volume(self, power: np.ndarray, scale: np.ndarray, project: Project) -> float:
        """Log of the integral over all covariances, c (K,), P (K, D, D); `project`: the M-step."""
        if self.is_common:
            return self.log_integral(float(power.sum()), scale.sum(axis=0))
        return sum(self.log_integral(float(c), p) for c, p in zip(power, scale, strict=True))

    def draw(self, degrees: float, scale: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Draw a covariance by `draw_one`; return a root R, Sigma = R R'."""
        root, whitener, covariance = np.zeros((3, *scale.shape))
        assert self.draw_one is not None
        if np.isnan(
            self.draw_one(rng, degrees, scale.copy(), self.constants, root, whitener, covariance)
        ):
            raise InputError("the prior's scale is numerically singular: give a larger scale")
        return root

    def describe_prior(self, degrees: float, scale: np.ndarray) -> tuple[str, np.ndarray]:
        """What IW(degrees, scale) says of a covariance, in words, and the sds (D,) at its peak."""
        power = float(self.power(np.array(degrees), len(scale)))
        words = f"variances along known axes, inverse gamma with {power - 2:g}"
        return words, np.sqrt(np.diagonal(scale) / power)

    # Coordinates.

    def basis(self, n_features: int) -> np.ndarray:
        """Entries of a component by its coordinates, (Q, B), in orthogonal columns."""
        raise NotImplementedError

    def entries(self, covariances: np.ndarray) -> np.ndarray:
        """Entries (..., K, Q) of covariances (..., K, D, D)."""
        raise NotImplementedError

    def from_entries(self, entries: np.ndarray, n_features: int) -> np.ndarray:
        """Covariances (..., K, D, D) with these entries."""
        raise NotImplementedError

    def pull_back_to_entries(self, entries: np.ndarray, gradient: np.ndarray) -> np.ndarray:
        """Derivatives (K, Q) in the entries, from symmetric G (K, D, D), df = sum tr(G dSigma)."""
        raise NotImplementedError

    def log_slope(self, entries: np.ndarray, n_features: int) -> np.ndarray:
        """Log |d(what the prior is a density of) / d(coordinates)| of a covariance, (...)."""
        raise NotImplementedError

    def frames(self, covariances: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """R_k with Sigma_k = R_k R_k', (K, D, D); also the variances (K, D) if axes may turn."""
        raise NotImplementedError

    def columns(self, n_components: int, n_features: int) -> np.ndarray:
        """Where a component's coordinates are among all those of the covariances, (K, B)."""
        columns, start = [], 0
        for size, is_own in self.blocks(n_features):
            own = size if is_own else 0
            columns.append(start + own * np.arange(n_components)[:, None] + np.arange(size))
            start += size * (n_components if is_own else 1)
        return np.hstack(columns)

    def coordinates(self, covariances: np.ndarray) -> np.ndarray:
        """Coordinates (..., P) of covariances (..., K, D, D) of this structure."""
        n_components, n_features = covariances.shape[-3:-1]
        basis = self.basis(n_features)
        own = self.entries(covariances) @ (basis / (basis**2).sum(axis=0))
        columns = self.columns(n_components, n_features)
        free = np.empty((*covariances.shape[:-3], self.n_parameters(n_components, n_features)))
        free[..., columns.ravel()] = own.reshape(*own.shape[:-2], -1)
        return free

    def covariances_at(self, free: np.ndarray, n_components: int, n_features: int) -> np.ndarray:
        """Covariances (..., K, D, D) at coordinates (..., P)."""
        own = free[..., self.columns(n_components, n_features)]
        return self.from_entries(own @ self.basis(n_features).T, n_features)

    def pull_back(self, covariances: np.ndarray, gradient: np.ndarray) -> np.ndarray:
        """Derivatives (P,) in the coordinates; `gradient` as in `pull_back_to_entries`."""
        n_components, n_features = covariances.shape[:2]
        own = self.pull_back_to_entries(self.entries(covariances), gradient)
        result = np.zeros(self.n_parameters(n_components, n_features))
        np.add.at(result, self.columns(n_components, n_features), own @ self.basis(n_features))
        return result

    def log_jacobian(self, covariances: np.ndarray) -> np.ndarray:
        """Log |d(what the prior is a density of) / d(coordinates)|, (...), where it is drawn."""
        some = covariances[..., :1, :, :] if self.is_common else covariances
        return self.log_slope(self.entries(some), covariances.shape[-1]).sum(axis=-1)


def register(*structures: Structure) -> None:
    """Make structures known by their names, so that `covariance=` takes them."""
    for structure in structures:
        _REGISTERED[structure.name] = structure


def names(*, drawn: bool = False) -> tuple[str, ...]:
    """Names of all structures, or of those that are drawn directly."""
    return tuple(name for name, one in _REGISTERED.items() if one.is_drawn or not drawn)


def pairs(n_features: int, turns: bool) -> tuple[np.ndarray, np.ndarray]:
    """Features (Q,), (Q,) of each entry: each with itself, then the pairs, if any count."""
    diagonal = np.arange(n_features)
    lower: Any = np.tril_indices(n_features, -1) if turns else (diagonal[:0],) * 2
    return np.concatenate([diagonal, lower[0]]), np.concatenate([diagonal, lower[1]])

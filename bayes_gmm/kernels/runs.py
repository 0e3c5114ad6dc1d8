"""What an EM run carries from step to step, and where it ended."""

from typing import NamedTuple

import numpy as np

from bayes_gmm.kernels.rule import Candidate
from bayes_gmm.model.parameters import Parameters
from bayes_gmm.model.statistics import SufficientStatistics


class State(NamedTuple):
    """What the next step needs: the parameters, and the pass at these very parameters."""

    candidate: Candidate
    statistics: SufficientStatistics
    objective: float

    @property
    def parameters(self) -> Parameters:
        """In the coordinates of the pass."""
        return self.candidate.parameters


class Collapse(NamedTuple):
    """A component as last seen before it collapsed: mean (D,), covariance (D, D), rows held."""

    mean: np.ndarray
    covariance: np.ndarray
    n_rows: float


class Run(NamedTuple):
    """An EM run from one start."""

    state: State  # the last one with no component lost
    objectives: list[float]  # at the start and after each iteration; never decreasing
    converged: bool
    collapsed: int | None  # the component whose covariance became singular or whose rows ran out
    collapses: tuple[Collapse, ...] = ()  # components seeded anew, after which `objectives` begins

    @property
    def parameters(self) -> Parameters:
        """Where it ended, in the coordinates of the pass."""
        return self.state.parameters

    @property
    def has_state(self) -> bool:
        """Whether there was a pass before the collapse: a start may be degenerate itself."""
        return bool(np.isfinite(self.state.objective))

    @property
    def collapse(self) -> Collapse:
        """The component that collapsed last."""
        k, theta = self.collapsed, self.state.parameters
        count = self.state.statistics.count
        return Collapse(theta.means[k], theta.covariances[k], float(count[k]))

    @property
    def all_collapses(self) -> tuple[Collapse, ...]:
        """Components that were seeded anew, and the one that ended the run."""
        ended = self.collapsed is not None and self.has_state
        return (*self.collapses, self.collapse) if ended else self.collapses

    def then(self, rest: "Run") -> "Run":
        """One run made of two, the second of which began where the first ended."""
        return rest._replace(
            objectives=self.objectives + rest.objectives[1:],
            collapses=self.collapses + rest.collapses,
        )

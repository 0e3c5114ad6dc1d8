"""Chains of the telescoping sampler: a Gibbs chain whose number of components changes."""

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np

from bayes_gmm.inference.gibbs.chain import Chain, require_covariance
from bayes_gmm.kernels.gibbs import Prior, Record, State, Sums
from bayes_gmm.kernels.kernel import twin
from bayes_gmm.kernels.partition import FIXED, Number
from bayes_gmm.kernels.rows import Rows
from bayes_gmm.kernels.split_merge import INTEGRATE
from bayes_gmm.kernels.telescoping import (
    COMPONENTS,
    NumberRecord,
    Unknown,
    end_telescoping,
    run_telescoping,
)
from bayes_gmm.model.number_of_components import NumberOfComponents
from bayes_gmm.model.structures import Structure

WIDTH = 16  # components that a record has room for at first


class TelescopingChain(Chain):
    """One chain, which goes on where it stopped; see `Chain`.

    Its prior is its own, because the chain writes hyperparameters into it.
    """

    def __init__(
        self,
        *arguments: Any,
        number: NumberOfComponents,
        structure: Structure,
        n_labelled: int,
    ):
        super().__init__(*arguments)
        start = self._state
        n_components, n_features = start.means.shape
        room = number.log_probabilities.size
        self._state = State(*(_with_room(field, room) for field in start))
        self._sums = Sums.zeros(room, n_features)
        moves = n_labelled > 1 and structure.integrate_one is not None
        self._unknown = Unknown(
            Number.of(number),
            twin(structure.integrate_one, INTEGRATE).address if moves else 0,
            np.array([n_components, n_components]),
            np.array([float(number.start_alpha)]),
            np.zeros(n_labelled if moves else 0, np.int64),
            np.zeros(4, np.int64),
            np.empty(room),
        )
        self._numbers = NumberRecord.empty(self.record.weights.shape[:1])

    @property
    def numbers(self) -> dict[str, np.ndarray]:
        """K, unless that is infinite, K+ and alpha, unless that is fixed."""
        found = self._numbers._asdict()
        if self._unknown.number.is_process:
            del found["n_components"]
        if self._unknown.number.alpha_kind == FIXED:
            del found["alpha"]
        return found

    def width(self, n_draws: int) -> int:
        """How many components its first draws have at most."""
        return int(self._numbers.n_components[:n_draws].max())

    @property
    def moves(self) -> np.ndarray:
        """Splits proposed and accepted, mergers proposed and accepted, (4,)."""
        return self._unknown.moves

    def thin_out(self) -> None:
        """Keep every second draw, as in `Chain`."""
        kept = len(self.record.weights) // 2
        for field in self._numbers:
            field[:kept] = field[1 : 2 * kept : 2]
        super().thin_out()

    def _run(self, rows: Rows, n_sweeps: int) -> None:
        data, done = self._data, 0
        while done < n_sweeps:
            self._make_room()
            ran = run_telescoping(
                data.look.address, rows, data.origin, data.inverse_scale, self._key, self._sweep,
                n_sweeps - done, *self._ending(),
            )  # fmt: skip
            require_covariance(-1 - ran)
            self._sweep += ran
            done += ran

    def _sweep_over_blocks(self, stop: threading.Event) -> bool:
        self._make_room()
        return super()._sweep_over_blocks(stop)

    def _make_room(self) -> None:
        """Widen the record where the components in use are more than it has room for."""
        width = self.record.weights.shape[1]
        if self._unknown.sizes[COMPONENTS] > width:
            self.record = of_width(self.record, min(2 * width, len(self._state.weights)))
            self._make_room()

    def _in_use(self) -> tuple[np.ndarray, ...]:
        n = self._unknown.sizes[COMPONENTS]
        return tuple(field[:n] for field in super()._in_use())

    def _end(self, log_normalizer: float) -> int:
        data, no_rows = self._data, np.empty((0, self._state.means.shape[1]))
        return end_telescoping(
            self._sweep, log_normalizer, no_rows, data.origin, data.inverse_scale, *self._ending()
        )

    def _ending(self) -> tuple:
        return (*super()._ending(), self._unknown, self._numbers)


def accepted(chains: Sequence[Chain]) -> dict[str, float]:
    """Shares of the proposed splits and mergers that were accepted, where any were proposed."""
    moves = sum((c.moves for c in chains if isinstance(c, TelescopingChain)), np.zeros(4))
    named = {"split_acceptance": moves[:2], "merge_acceptance": moves[2:]}
    return {name: float(n[1] / n[0]) for name, n in named.items() if n[0]}


def of_width(record: Record, width: int) -> Record:
    """Give a record of draws (draw, K, ...) room for `width` components.

    What there is room for only has weight zero, and stands where the first component does.
    """
    more = width - record.weights.shape[1]
    if more <= 0:
        return Record(*(f[:, :width] if f.ndim > 1 else f for f in record))
    means, covariances = (np.repeat(f[:, :1], more, axis=1) for f in record[1:3])
    none = np.zeros((len(record.weights), more))
    return Record(
        np.hstack([record.weights, none]),
        np.hstack([record.means, means]),
        np.hstack([record.covariances, covariances]),
        record.log_likelihood,
        np.hstack([record.counts, none.astype(np.int64)]),
    )


def _with_room(field: np.ndarray, room: int) -> np.ndarray:
    """Copy an array (K, ...) into one of zeros (M, ...)."""
    wide = np.zeros((room, *field.shape[1:]))
    wide[: len(field)] = field
    return wide


def prior_of_any_number(prior: Prior, room: int) -> Prior:
    """Give a prior of one component room for more, which are alike.

    A covariance that all share has its prior once: the others add no rows to it.
    """
    wide = {
        name: np.repeat(getattr(prior, name)[:1], room, axis=0)
        for name in ("concentration", "mean", "mean_precision", "degrees_of_freedom", "scale")
    }
    if prior.is_common:
        wide["degrees_of_freedom"][1:] = -(prior.mean.shape[1] + 1)
        wide["scale"][1:] = 0.0
    return Prior(**(prior._asdict() | wide))

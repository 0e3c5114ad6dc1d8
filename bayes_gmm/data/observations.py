"""`Observations`: the user's data X, converted and checked once, here.

All other code relies on an (N, D) array of finite floating-point numbers in C order with at least
two rows and no constant column. A single row, or a constant column, is accepted from a caller that
passes the expected standard deviations, as a proper prior does.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np

from bayes_gmm.data.columns import chosen, looked_at
from bayes_gmm.data.faults import Faults
from bayes_gmm.data.files import open_table
from bayes_gmm.data.kinds import as_array, as_frame, table_of
from bayes_gmm.data.row_labels import row_labels
from bayes_gmm.data.row_weights import as_row_weights, in_rows
from bayes_gmm.data.scan import CONSTANT_UNITS, MAR, origin_and_scale, scan
from bayes_gmm.data.streams import Source, Stream, blocks, is_on_disk, recut, source
from bayes_gmm.data.wording import listing, require_distinct
from bayes_gmm.errors import InputError

BLOCK = 1 << 16  # numbers scanned together: few enough for the cache, enough for NumPy to be fast


class Terms(NamedTuple):
    """What X is called in messages, and what it may be, as in `Observations.of`."""

    what: str
    spread: np.ndarray | None
    missing: str | None


@dataclass(frozen=True, eq=False)
class Observations:
    """N rows of D measurements, already checked."""

    # (N, D), float64 in C order; a memory-mapped file of float32 keeps its type, to stay on disk.
    # No copy is made of what already has this form. A `Stream` is read anew for every pass
    values: np.ndarray | Stream
    feature_names: tuple[str, ...]  # the user's column names, or x0, x1, ...
    row_labels: Any  # (N,), the user's row labels; None stands for 0, 1, ...
    origin: np.ndarray  # (D,), mean of each column
    scale: np.ndarray  # (D,), standard deviation of each column, divisor N
    weights: np.ndarray | None = None  # (N,), row weights; None means 1 for every row
    is_complete: bool = True  # whether no entry is missing; missing ones are nan

    @classmethod
    def of(
        cls,
        X: Any,
        *,
        what: str = "X",
        spread: np.ndarray | None = None,
        missing: str | None = None,
    ) -> Self:
        """Check and convert X, of which (N,) is read as (N, 1); spread (D,)."""
        if isinstance(X, cls):
            return X
        table, terms = source(X, what), Terms(what, spread, missing)
        if isinstance(X, str | Path):
            file = open_table(X, what)
            file.warn()
            if file.is_large:
                table = Source(file.frames, file.faults)
            else:
                return cls._of_frame(file.rows(), file.faults(), terms)
        if table is not None:
            return cls._streamed(table, terms)
        frame = as_frame(X, what)
        if frame is not None:
            return cls._of_frame(frame, Faults(what), terms)
        return cls._of_array(as_array(X, what), [], None, terms)

    @classmethod
    def _of_frame(cls, frame: Any, faults: Faults, terms: Terms) -> Self:
        """Convert columns with names."""
        if not frame.shape[1] or not len(frame):
            return cls._of_array(frame.to_numpy(), [], None, terms)
        faults.offers_mar = terms.missing is not None
        numbers = looked_at(chosen(frame, None, terms.what), faults, missing=terms.missing == MAR)
        names = [str(name) for name in numbers.columns]
        values = numbers.to_numpy(dtype=np.float64, na_value=np.nan)
        return cls._of_array(values, names, numbers.index, terms)

    @classmethod
    def _of_array(cls, array: np.ndarray, names: list[str], index: Any, terms: Terms) -> Self:
        """Convert an array, with or without column names."""
        what, spread, missing = terms
        values, names = table_of(array, names, what)
        if len(values) < 2 and spread is None:
            raise InputError(f"{what} has one row: give at least two, since one has no spread")
        scanned = scan(blocks(values, max(1, BLOCK // values.shape[1])), names, what, missing)
        assert scanned is not None  # there are rows
        origin, scale = origin_and_scale(scanned, values.dtype, names, what, spread)
        if not scanned.is_complete and is_on_disk(values):
            raise InputError(
                f'{what} is a memory-mapped file, but missing="mar" needs the rows in memory: pass '
                f"np.array({what})"
            )
        return cls(
            values, tuple(names), row_labels(index), origin, scale, None, scanned.is_complete
        )

    @classmethod
    def _streamed(cls, table: Source, terms: Terms) -> Self:
        """Convert rows that are read block by block, after reading them once."""
        what, spread, missing = terms
        if missing == MAR:
            raise InputError(
                f'{what} is read block by block, but missing="mar" needs the rows in memory: pass '
                f"{what} as an array, or pass a random subset of its rows"
            )
        names: list[str] = []

        def opened() -> Iterator[np.ndarray]:
            faults = table.faults()
            for place, block in enumerate(table.blocks()):
                frame = as_frame(block, what)
                if frame is None:
                    values, own = table_of(as_array(block, what), [], what)
                else:
                    require_distinct(frame.columns, what)
                    numbers = faults.look(frame)
                    own = [str(name) for name in numbers.columns]
                    values = np.empty((0, len(own)))
                    if not faults.found:
                        values, own = table_of(numbers.to_numpy(dtype=np.float64), own, what)
                if not names:
                    names.extend(own)
                if own != names:
                    raise InputError(
                        f"{what} has the columns {listing(own)} in block {place}, but "
                        f"{listing(names)} in earlier blocks: give every block the same columns"
                    )
                yield values
            faults.require_none()

        width = max((block.shape[1] for block in islice(opened(), 1)), default=1)
        scanned = scan(recut(opened(), max(1, BLOCK // width)), names, what, None)
        if scanned is None or (scanned.n_rows < 2 and spread is None):
            raise InputError(f"{what} gave fewer than two rows: give at least two")
        origin, scale = origin_and_scale(scanned, Stream.dtype, names, what, spread)
        stream = Stream(opened, scanned.n_rows, len(names))
        return cls(stream, tuple(names), None, origin, scale)

    @property
    def index(self) -> Any:
        """Row labels, a pandas Index (N,)."""
        import pandas as pd

        return pd.RangeIndex(self.n_rows) if self.row_labels is None else self.row_labels

    @property
    def frame(self) -> Any:
        """The rows as a pandas DataFrame."""
        import pandas as pd

        return pd.DataFrame(self.values, columns=list(self.feature_names), index=self.index)

    def weighted(
        self, weights: Any, *, what: str = "sample_weight", spread: np.ndarray | None = None
    ) -> Self:
        """Return the same rows with row weights (N,); spread (D,)."""
        if isinstance(self.values, Stream):
            raise InputError(
                f"{what} needs the rows in memory, but X is read block by block: pass X as an array"
            )
        times = as_row_weights(weights, self.n_rows, self.row_labels, what)
        counted = times > 0
        if np.count_nonzero(counted) < 2 and spread is None:
            raise InputError(
                f"{what} is positive for one row only: at least two rows need a positive weight"
            )
        if not self.is_complete:
            return self._weighted_incomplete(times, what, spread)
        share = times / times.max()
        share /= share.sum()
        # Differences from a row with positive weight: rows of weight 0 may be arbitrarily far away.
        first = self.values[np.argmax(counted)].astype(np.float64)
        on_disk = is_on_disk(self.values)
        size = max(1, BLOCK // self.n_features) if on_disk else self.n_rows

        def differences() -> Iterator[tuple[np.ndarray, np.ndarray]]:
            start = 0
            for block in blocks(self.values, size):
                of_block = slice(start, start + len(block))
                start += len(block)
                if counted[of_block].any():
                    yield block[counted[of_block]] - first, share[of_block][counted[of_block]]

        held = None if on_disk else list(differences())
        mean = sum(own @ rows for rows, own in held or differences())
        scale = np.sqrt(sum(own @ (rows - mean) ** 2 for rows, own in held or differences()))
        scale = self._varying(scale, first, what, spread)
        return replace(self, origin=first + mean, scale=scale, weights=times)

    def _varying(
        self, scale: np.ndarray, value: np.ndarray, what: str, spread: np.ndarray | None
    ) -> np.ndarray:
        """Standard deviations (D,); those of constant columns are replaced by the expected ones."""
        constant = scale <= CONSTANT_UNITS * np.finfo(self.values.dtype).eps * np.abs(value)
        if constant.any() and spread is None:
            name = self.feature_names[int(np.argmax(constant))]
            raise InputError(
                f"{what} is positive only where column {name!r} is constant: leave that column out"
            )
        return scale if spread is None else np.where(constant, spread, scale)

    def _weighted_incomplete(self, times: np.ndarray, what: str, spread: np.ndarray | None) -> Self:
        """Add row weights; means and standard deviations are those of the observed entries."""
        values = np.asarray(self.values)
        present = ~np.isnan(values) & (times > 0)[:, None]
        if not present.any(axis=0).all():
            name = self.feature_names[int(np.argmin(present.any(axis=0)))]
            raise InputError(
                f"{what} is positive only where column {name!r} is missing: leave that column out"
            )
        share = np.where(present, times[:, None] / times.max(), 0.0)
        share /= share.sum(axis=0)
        first = values[present.argmax(axis=0), np.arange(self.n_features)]
        gap = np.where(present, values - first, 0.0)
        mean = (share * gap).sum(axis=0)
        scale = np.sqrt((share * (gap - mean) ** 2).sum(axis=0))
        scale = self._varying(scale, first, what, spread)
        return replace(self, origin=mean + first, scale=scale, weights=times)

    @property
    def total_weight(self) -> float:
        """N, or the sum of the weights."""
        return float(self.n_rows if self.weights is None else self.weights.sum())

    @property
    def n_seen(self) -> float:
        """Number of rows, or sum of the row weights, rescaled if they are not whole numbers."""
        weights = in_rows(self.weights)[0]
        return float(self.n_rows if weights is None else weights.sum())

    @property
    def log_volume(self) -> float:
        """Log-likelihood in the coordinates (x - origin) / scale minus log-likelihood of x."""
        logs = np.log(self.scale)
        if self.is_complete:
            return self.total_weight * float(logs.sum())
        times = np.ones(self.n_rows) if self.weights is None else self.weights
        return float(times @ ~np.isnan(np.asarray(self.values)) @ logs)

    @property
    def n_rows(self) -> int:
        """N."""
        return self.values.shape[0]

    @property
    def n_counted(self) -> int:
        """Number of rows with positive weight."""
        return self.n_rows if self.weights is None else int(np.count_nonzero(self.weights))

    @property
    def n_features(self) -> int:
        """D."""
        return self.values.shape[1]

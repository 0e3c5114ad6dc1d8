"""Rows that need not be in memory: every pass reads them again, block by block.

`blocks` cuts an array, a memory-mapped file and a stream at the same rows, so that sums over them
agree to the last bit however the rows are stored.
"""

import mmap
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from bayes_gmm.data.faults import Faults
from bayes_gmm.errors import InputError

MOST_HELD = 1 << 26  # bytes of a mapped file that are kept in memory
CHUNK_ROWS = 1 << 16  # rows read together when some of them are selected


class Stream:
    """A table whose rows are read again for every pass."""

    dtype = np.dtype(np.float64)

    def __init__(
        self, opened: Callable[[], Iterator[np.ndarray]], n_rows: int, n_features: int
    ) -> None:
        self._opened = opened
        self.shape = (n_rows, n_features)

    def __len__(self) -> int:
        return self.shape[0]

    def blocks(self, n_rows: int) -> Iterator[np.ndarray]:
        """Yield the rows again in blocks of a given size, however they are stored."""
        seen = 0
        for block in recut(self._opened(), n_rows):
            seen += len(block)
            yield block
        if seen != len(self):
            raise InputError(
                f"X gave {len(self)} rows when it was first read but {seen} rows now: "
                "it must give the same rows every time"
            )


def recut(tables: Iterable[np.ndarray], n_rows: int) -> Iterator[np.ndarray]:
    """Cut tables of any lengths, taken as one, into blocks of n_rows rows, the last one shorter."""
    held: list[np.ndarray] = []
    waiting = 0
    for table in tables:
        held.append(table)
        waiting += len(table)
        if waiting < n_rows:
            continue
        rows = np.concatenate(held)
        whole = waiting - waiting % n_rows
        yield from (rows[start : start + n_rows] for start in range(0, whole, n_rows))
        held, waiting = [rows[whole:]], waiting - whole
    if waiting:
        yield np.concatenate(held)


def blocks(values: "np.ndarray | Stream", n_rows: int) -> Iterator[np.ndarray]:
    """Yield a table in blocks of rows, the last one shorter.

    Pages of a memory-mapped file are handed back once a block has been used, so that reading a
    large file doesn't fill the memory.

    Shapes: values (N, D) -> (n, D).
    """
    if isinstance(values, Stream):
        yield from values.blocks(n_rows)
        return
    mapped = _droppable(values)
    held = 0
    for start in range(0, len(values), n_rows):
        block = values[start : start + n_rows]
        yield block
        held += block.nbytes
        if mapped is not None and held > MOST_HELD:
            mapped.madvise(mmap.MADV_DONTNEED)
            held = 0


def every(values: "np.ndarray | Stream", step: int) -> np.ndarray:
    """Take rows 0, step, 2 step, ... of a table (N, D)."""
    if isinstance(values, Stream):
        whole = step * max(1, CHUNK_ROWS // step)  # so that each block begins with a row to take
        return np.concatenate([block[::step] for block in values.blocks(whole)])
    return np.asarray(values[::step])


def is_on_disk(values: "np.ndarray | Stream") -> bool:
    """Whether a table is read again for each pass: block by block, or from a mapped file."""
    return isinstance(values, Stream) or _mapped_file(values)[0] is not None


def _mapped_file(values: np.ndarray) -> tuple[mmap.mmap | None, str]:
    """Find the mapped file under an array, if there is one, and how it was opened."""
    base: Any = values
    mode = "c"
    while isinstance(base, np.ndarray):
        mode = getattr(base, "mode", mode)
        base = base.base
    return (base if isinstance(base, mmap.mmap) else None), mode


def _droppable(values: np.ndarray) -> mmap.mmap | None:
    """Find the mapped file under an array, if its pages can be dropped and read again."""
    found, mode = _mapped_file(values)
    # Changes to a private copy would be lost with its pages.
    return found if mode != "c" and hasattr(found, "madvise") else None


class Source(NamedTuple):
    """Rows that are read again for each pass."""

    blocks: Callable[[], Iterator[Any]]  # returns a new iterator of tables
    faults: Callable[[], Faults]  # returns what looks for faults in them


def source(X: Any, what: str = "X") -> Source | None:
    """Return how to read X block by block, or None if X is a table itself.

    A function, or an iterable of tables, is read block by block.
    """
    if isinstance(X, Iterator) and not hasattr(type(X), "__arrow_c_stream__"):
        raise InputError(
            f"{what} is an iterator, which can be read only once: "
            "give a function that returns a new one"
        )
    faults = partial(Faults, what)
    if callable(X):
        return Source(lambda: iter(X()), faults)
    of_table = (
        "__array__",
        "__array_interface__",
        "__arrow_c_stream__",
        "__arrow_c_array__",
        "columns",
    )
    if any(hasattr(type(X), name) for name in of_table) or not isinstance(X, Iterable):
        return None
    if isinstance(X, str | bytes | range | Mapping):
        return None
    if isinstance(X, list | tuple) and not (X and _is_block(X[0])):
        return None
    return Source(lambda: iter(X), faults)


def _is_block(entry: Any) -> bool:
    return getattr(entry, "ndim", 0) == 2 or (
        not isinstance(entry, np.ndarray) and hasattr(type(entry), "columns")
    )

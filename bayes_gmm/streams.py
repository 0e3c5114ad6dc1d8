"""Rows that need not be in memory: every pass reads them anew, block by block.

An array, a memory-mapped file and a stream all answer `blocks`, cut at the same rows, so that the
sums over them are the same to the last bit however the rows are kept.
"""

import mmap
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from bayes_gmm.errors import InputError

MOST_HELD = 1 << 26  # bytes of a mapped file that are kept in memory
CHUNK_ROWS = 1 << 16  # rows read at a time from a file
FILES = (".csv", ".csv.gz", ".parquet")


class Stream:
    """A table whose rows are read again for every pass.

    Parameters
    ----------
    opened : callable
        Returns a new iterator over blocks of rows, (n, D) arrays of finite numbers.
    n_rows, n_features : int

    Attributes
    ----------
    shape : tuple of int
    dtype : numpy.dtype
        float64.
    """

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
                f"X gave {len(self)} rows when it was first read and {seen} rows now; "
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

    Parameters
    ----------
    values : ndarray, memmap or Stream (N, D)
    n_rows : int
        Rows per block.

    Yields
    ------
    ndarray (n, D)
    """
    if isinstance(values, Stream):
        yield from values.blocks(n_rows)
        return
    mapped = _mapping(values)
    held = 0
    for start in range(0, len(values), n_rows):
        block = values[start : start + n_rows]
        yield block
        held += block.nbytes
        if mapped is not None and held > MOST_HELD:
            mapped.madvise(mmap.MADV_DONTNEED)
            held = 0


def every(values: "np.ndarray | Stream", step: int) -> np.ndarray:
    """Take rows 0, step, 2 step, ... of a table.

    Parameters
    ----------
    values : ndarray, memmap or Stream (N, D)
    step : int

    Returns
    -------
    ndarray (ceil(N / step), D)
    """
    if isinstance(values, Stream):
        whole = step * max(1, CHUNK_ROWS // step)  # so that each block begins with a row to take
        return np.concatenate([block[::step] for block in values.blocks(whole)])
    return np.asarray(values[::step])


def _mapping(values: np.ndarray) -> mmap.mmap | None:
    """Find the mapped file under an array, if its pages can be dropped and read again."""
    base: Any = values
    mode = "c"  # what was written to a private copy would be lost with its pages
    while isinstance(base, np.ndarray):
        mode = getattr(base, "mode", mode)
        base = base.base
    can_drop = isinstance(base, mmap.mmap) and mode != "c" and hasattr(base, "madvise")
    return base if can_drop else None


def reader(X: Any, what: str = "X") -> Callable[[], Iterator[Any]] | None:
    """Tell how to read X block by block, if it is a file, a function or an iterable of blocks.

    Parameters
    ----------
    X : path, callable or iterable
        A CSV or Parquet file; a function that returns a new iterator of tables each time; or an
        object that can be iterated again and again and yields tables.
    what : str
        How error messages call X.

    Returns
    -------
    callable or None
        Returns a new iterator of tables; None if X is a table itself.

    Raises
    ------
    InputError
        If X is a file of another kind, or can be read only once.
    """
    if isinstance(X, str | Path):
        return _file_reader(Path(X), what)
    if isinstance(X, Iterator):
        raise InputError(
            f"{what} is an iterator, which can be read only once: "
            "give a function that returns a new one"
        )
    if callable(X):
        return lambda: iter(X())
    is_table = hasattr(X, "__array__") or hasattr(X, "__array_interface__")
    if is_table or not isinstance(X, Iterable):
        return None
    if isinstance(X, list | tuple) and not (X and _is_block(X[0])):
        return None
    return lambda: iter(X)


def _is_block(entry: Any) -> bool:
    return getattr(entry, "ndim", 0) == 2


def _file_reader(path: Path, what: str) -> Callable[[], Iterator[Any]]:
    if not path.exists():
        raise InputError(
            f"{what} is the path {str(path)!r}, but there is no such file: give a table, or a "
            "built-in one by bayes_gmm.datasets.load(name)"
        )
    if path.suffix == ".parquet":
        return lambda: _parquet(path)
    if path.name.endswith((".csv", ".csv.gz")):
        return lambda: _csv(path)
    raise InputError(
        f"{what} is the file {str(path)!r}, which cannot be read in parts: give {', '.join(FILES)}"
    )


def _csv(path: Path) -> Iterator[Any]:
    import pandas as pd

    from bayes_gmm.tables import read_csv

    # The first rows go through the checks of a whole table, which say what is wrong and what to do.
    read_csv(path, n_rows=CHUNK_ROWS)
    with pd.read_csv(path, chunksize=CHUNK_ROWS, skipinitialspace=True) as chunks:
        for chunk in chunks:
            yield chunk.rename(columns=str.strip)


def _parquet(path: Path) -> Iterator[Any]:
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(CHUNK_ROWS):
            yield batch.to_pandas()

"""Rows in blocks, worked on by a few threads, so that memory stays bounded whatever N is."""

import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

from bayes_gmm.errors import InputError

BLOCK_NUMBERS = 1 << 19  # doubles per array of a block: 4 MiB
GIB = 1 << 30
NUMBER = 8  # bytes
THREADS = os.cpu_count() or 1


def by_blocks[T](
    evaluate: Callable[[slice], T],
    n_rows: int,
    numbers_per_row: int,
    *,
    block_numbers: float | None = None,
) -> Iterator[tuple[slice, T]]:
    """Evaluate blocks of rows and give the outcomes in order.

    `evaluate`, from a slice of the rows to whatever is kept of it, runs in threads.
    """
    size = max(1, int((block_numbers or BLOCK_NUMBERS) // numbers_per_row))
    cut = (slice(start, start + size) for start in range(0, n_rows, size))
    if THREADS == 1 or n_rows <= size:
        yield from ((place, evaluate(place)) for place in cut)
        return
    with ThreadPoolExecutor(THREADS) as pool:
        waiting: deque[tuple[slice, Future[T]]] = deque()
        for place in cut:
            waiting.append((place, pool.submit(evaluate, place)))
            if len(waiting) > 2 * THREADS:
                first, outcome = waiting.popleft()
                yield first, outcome.result()
        for place, outcome in waiting:
            yield place, outcome.result()


def require_memory(needed: float, allowed: float, what: str, advice: str) -> None:
    """Raise if an array would be larger than the memory that the user allows."""
    if not allowed > 0:
        raise InputError(f"memory must be a positive number of GiB; got {allowed!r}")
    if needed > allowed * GIB:
        raise InputError(
            f"{what} needs {needed / GIB:.3g} GiB of memory, more than memory={allowed:g} allows: "
            f"{advice}, or pass memory={np.ceil(needed / GIB * 10) / 10:g}"
        )

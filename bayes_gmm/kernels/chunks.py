"""The fold: run a kernel over blocks of rows and add the statistics up.

`expectation` closes over the data and returns `expect`, a function from K log-quadratic functions
to sufficient statistics. The loops of the package call `expect` and never see the rows, how many
there are, or how many threads work on them. Blocks are cut by the shape of the data alone and their
statistics are added in order, so the answer does not depend on the threads.
"""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ContextDecorator, nullcontext
from functools import cache
from threading import Lock
from typing import Any

import numpy as np
from threadpoolctl import ThreadpoolController

from bayes_gmm.data import Observations
from bayes_gmm.kernels import cpu
from bayes_gmm.kernels.rows import Rows, accumulate, sorted_blocks
from bayes_gmm.model.parameters import LogQuadratic
from bayes_gmm.model.statistics import SufficientStatistics
from bayes_gmm.model.structures import UNCONSTRAINED, Structure

Expect = Callable[[LogQuadratic], SufficientStatistics]
Kernel = Callable[..., SufficientStatistics]

BLOCK_ROWS = 1 << 14


def expectation(
    observations: Observations,
    structure: Structure = UNCONSTRAINED,
    *,
    spread: np.ndarray | None = None,
    threads: int | None = None,
    block_rows: int | None = None,
    kernel: Kernel = accumulate,
) -> Expect:
    """Close over the data: the E-step as a function of the parameters only.

    It works in the coordinates (x - origin) / scale, in which `spread` (D,) are the variances that
    `rows` explains. A block has fewer rows where there are many features, which make a row long
    work. By default as many blocks are worked on at a time as there are cores, and one of few rows;
    samplers, which run in threads of their own, pass 1.
    """
    origin, scale, complete = observations.origin, observations.scale, observations.is_complete
    many_features = observations.n_features > cpu.FEW_FEATURES
    if block_rows is None:
        block_rows = BLOCK_ROWS // 4 if many_features else BLOCK_ROWS
    if threads is None:
        threads = (os.cpu_count() or 1) if observations.n_rows > block_rows else 1
    one_blas_thread = ONE_BLAS_THREAD if many_features else nullcontext()
    read = sorted_blocks(observations, block_rows, spread)

    def expect(log_quadratic: LogQuadratic) -> SufficientStatistics:
        def one(rows: Rows) -> SufficientStatistics:
            return kernel(
                rows, origin, scale, log_quadratic, structure=structure, complete=complete
            )

        with one_blas_thread:
            if threads == 1:
                return _total(map(one, read()))
            return _total(in_order(one, read(), threads, ahead=4 * threads))

    return expect


def in_order[Piece, Outcome](
    one: Callable[[Piece], Outcome], pieces: Iterable[Piece], threads: int, ahead: int
) -> Iterator[Outcome]:
    """Work on a few pieces at a time and give their outcomes in order."""
    waiting: deque[Future[Outcome]] = deque()
    for piece in pieces:
        waiting.append(_pool(threads).submit(one, piece))
        if len(waiting) > ahead:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


class OneBlasThread(ContextDecorator):
    """Hold BLAS to one thread as long as any pass is under way.

    The products of a pass are too small to share, and threads of BLAS that wait for each other
    make it several times slower. Passes may overlap in time, so the first to begin sets the limit
    and the last to end lifts it; a loop that holds it saves its passes from doing so.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._passes = 0
        self._limits: Any = None

    def __enter__(self) -> None:
        with self._lock:
            if self._passes == 0:
                self._limits = _blas().limit(limits=1, user_api="blas")
            self._passes += 1

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._passes -= 1
            if self._passes == 0:
                self._limits.restore_original_limits()

    def forget(self) -> None:
        """Start anew in a forked process, in which no pass of its parent goes on."""
        if self._passes:
            self._limits.restore_original_limits()
        self._lock, self._passes = Lock(), 0


ONE_BLAS_THREAD = OneBlasThread()


@cache
def _blas() -> ThreadpoolController:
    """Find the BLAS libraries, once: it takes milliseconds."""
    return ThreadpoolController()


def in_parts(work: Callable[[slice], None], n: int, *, busy: bool) -> None:
    """Do independent pieces of work, some on each core."""
    threads = min(os.cpu_count() or 1, n) if busy else 1
    edges = [n * i // threads for i in range(threads + 1)]
    with ONE_BLAS_THREAD:
        if threads == 1:
            work(slice(0, n))
            return
        list(_pool(threads).map(work, map(slice, edges, edges[1:])))


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    """Return worker threads, started once and kept."""
    return ThreadPoolExecutor(threads, thread_name_prefix="bayes_gmm")


# A forked process has none of its parent's threads.
os.register_at_fork(after_in_child=_pool.cache_clear)
os.register_at_fork(after_in_child=ONE_BLAS_THREAD.forget)


def _total(statistics: Iterator[SufficientStatistics]) -> SufficientStatistics:
    total = next(statistics)
    for part in statistics:
        total = total + part
    return total

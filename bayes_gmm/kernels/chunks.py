"""The fold: run a kernel over blocks of rows and add the statistics up.

`expectation` closes over the data and returns `expect`, a function from K log-quadratic functions
to sufficient statistics. The loops of the package call `expect` and never see the rows, how many
there are, or how many threads work on them. Blocks are cut by the number of rows alone and their
statistics are added in order, so the answer does not depend on the threads.
"""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache

from threadpoolctl import threadpool_limits

from bayes_gmm.data import Observations
from bayes_gmm.kernels import cpu
from bayes_gmm.model.parameters import LogQuadratic
from bayes_gmm.model.statistics import SufficientStatistics

Expect = Callable[[LogQuadratic], SufficientStatistics]
Kernel = Callable[..., SufficientStatistics]

BLOCK_ROWS = 1 << 15
THREADED_ROWS = 1 << 14  # fewer rows than this are done before a thread would have started


def expectation(
    observations: Observations,
    kernel: Kernel = cpu.accumulate,
    *,
    threads: int | None = None,
    block_rows: int = BLOCK_ROWS,
) -> Expect:
    """Close over the data: the E-step as a function of the parameters only.

    Parameters
    ----------
    observations : Observations
    kernel : callable
        One of `cpu.accumulate` and `reference.accumulate`.
    threads : int, optional
        How many blocks are worked on at a time; by default one per core, and one for few rows.
        Samplers, which run in threads of their own, pass 1.
    block_rows : int
        Rows per block.

    Returns
    -------
    callable
        LogQuadratic -> SufficientStatistics, both in the coordinates
        (x - observations.origin) / observations.scale.
    """
    rows, weights = observations.values, observations.weights
    origin, scale = observations.origin, observations.scale
    n_rows = observations.n_rows
    if threads is None:
        threads = (os.cpu_count() or 1) if n_rows >= THREADED_ROWS else 1

    def blocks() -> Iterator[slice]:
        for start in range(0, n_rows, block_rows):
            yield slice(start, start + block_rows)

    def expect(log_quadratic: LogQuadratic) -> SufficientStatistics:
        def one(block: slice) -> SufficientStatistics:
            times = None if weights is None else weights[block]
            return kernel(rows[block], origin, scale, log_quadratic, times)

        if threads == 1:
            return _total(map(one, blocks()))
        with threadpool_limits(limits=1, user_api="blas"):
            return _total(_pool(threads).map(one, blocks()))

    return expect


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    """Return worker threads, started once and kept."""
    return ThreadPoolExecutor(threads, thread_name_prefix="bayes_gmm")


def _total(statistics: Iterator[SufficientStatistics]) -> SufficientStatistics:
    total = next(statistics)
    for part in statistics:
        total = total + part
    return total

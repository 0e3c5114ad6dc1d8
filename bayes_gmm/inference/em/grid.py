"""Many fits of the same data: a grid of structures and numbers of components, in parallel.

Each cell uses the seed of the grid, so that it equals a single fit with the same arguments, and
depends neither on the number of threads nor on the other cells.
"""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any, NamedTuple

from bayes_gmm.data import Observations
from bayes_gmm.errors import CollapseError, InputError
from bayes_gmm.inference.em.point import PointEstimate, estimate
from bayes_gmm.model.priors import ConjugatePrior
from bayes_gmm.model.structures import Structure


class Cell(NamedTuple):
    """One fit of the grid: what is fitted, and its PointEstimate or why there is none."""

    structure: Structure
    n_components: int
    prior: ConjugatePrior | None
    outcome: Any = None


def fit_grid(
    observations: Observations,
    cells: Sequence[Cell],
    *,
    n_starts: int,
    max_iter: int,
    tol: float,
    seed: int | None,
    cores: int | None,
    done: Callable[[], None],
) -> list[Cell]:
    """Fit every cell.

    Returned: in the same order, with outcomes.
    """

    def one(cell: Cell) -> Cell:
        try:
            outcome: PointEstimate | CollapseError | InputError = estimate(
                observations,
                cell.n_components,
                cell.prior,
                cell.structure,
                n_starts=n_starts,
                max_iter=max_iter,
                tol=tol,
                seed=seed,
            )
        except (CollapseError, InputError) as error:
            outcome = error
        return cell._replace(outcome=outcome)

    with ThreadPoolExecutor(cores or os.cpu_count() or 1) as pool:
        futures = [pool.submit(one, cell) for cell in cells]
        try:
            for _ in as_completed(futures):
                done()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
        return [future.result() for future in futures]

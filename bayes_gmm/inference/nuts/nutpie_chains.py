"""NUTS chains by nutpie, each with its own start and seed, and their interruption.

Each chain is a separate run of nutpie, so that its draws do not depend on the other chains or on
how many run in parallel.
"""

import os
from collections import deque
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow
import xarray as xr
from nutpie import sample as nutpie_sample
from nutpie.sample import CompiledModel

from bayes_gmm.kernels.chunks import ONE_BLAS_THREAD
from bayes_gmm.posterior.chains import longest_together
from bayes_gmm.progress import progress

POLL = 0.01  # seconds between two looks at a chain
# What is kept of nutpie's statistics of a draw, under PyMC's names.
STATISTICS = {
    "acceptance_rate": "mean_tree_accept",
    "diverging": "diverging",
    "energy": "energy",
    "energy_error": "energy_error",
    "index_in_trajectory": "index_in_trajectory",
    "lp": "logp",
    "max_energy_error": "max_energy_error",
    "n_steps": "n_steps",
    "reached_max_treedepth": "maxdepth_reached",
    "step_size": "step_size",
    "step_size_bar": "step_size_bar",
    "tree_depth": "depth",
}


class Column(NamedTuple):
    """Draws of one quantity, (chain, draw, ...), and the names of the further dims."""

    values: np.ndarray
    dims: tuple[str, ...]


class Chains(NamedTuple):
    """What the chains drew after tuning, all of one length."""

    draws: dict[str, Column]  # what the model expands a draw to
    statistics: dict[str, Column]  # nutpie's own, under its names
    number: np.ndarray  # (chain,), places of these chains among those asked for
    partial: bool  # whether the run was interrupted

    def tree(
        self, posterior: dict[str, Column], more: dict[str, Column], **coords: Sequence[str]
    ) -> xr.DataTree:
        """Build the result of an engine."""
        statistics = {name: self.statistics[own] for name, own in STATISTICS.items()}
        place = {"chain": self.number, "draw": np.arange(statistics["lp"].values.shape[1])}

        def dataset(columns: dict[str, Column], coords: dict[str, Any]) -> xr.Dataset:
            variables = {
                name: (("chain", "draw", *dims), values) for name, (values, dims) in columns.items()
            }
            return xr.Dataset(variables, {**place, **coords})

        return xr.DataTree.from_dict(
            {
                "/": xr.Dataset(attrs={"partial": int(self.partial)}),
                "/posterior": dataset(
                    posterior, {name: list(names) for name, names in coords.items()}
                ),
                "/sample_stats": dataset({**statistics, **more}, {}),
            }
        )


def run(
    models: Sequence[CompiledModel],
    seeds: Sequence[int],
    *,
    draws: int,
    tune: int,
    cores: int | None,
    progressbar: bool,
    **settings: Any,
) -> Chains:
    """Run one chain of each model, up to `cores` at a time.

    Returned: after an interrupt, of what was drawn by then: see `longest_together`.
    """
    cores = cores or os.cpu_count() or 1
    waiting = deque(range(len(models)))
    running: dict[int, Any] = {}
    results: dict[int, Any] = {}
    made = [0] * len(models)
    partial = False
    with (
        ONE_BLAS_THREAD,
        progress(len(models) * (draws + tune), "draws", shown=progressbar) as advance,
    ):
        shown = 0
        try:
            while waiting or running:
                while waiting and len(running) < cores:
                    chain = waiting.popleft()
                    running[chain] = nutpie_sample(
                        models[chain],
                        draws=draws,
                        tune=tune,
                        chains=1,
                        cores=1,
                        seed=seeds[chain],
                        progress_bar=False,
                        progress_callback=_counter(made, chain) if progressbar else None,
                        return_raw_trace=True,
                        blocking=False,
                        **settings,
                    )
                for chain, sampler in list(running.items()):
                    try:
                        results[chain] = sampler.wait(timeout=POLL)
                    except TimeoutError:
                        continue
                    del running[chain]
                    made[chain] = draws + tune
                advance(sum(made) - shown)
                shown = sum(made)
        except KeyboardInterrupt:
            partial = True
            stopped = ((chain, own) for chain, own in running.items() if chain not in results)
            results |= {chain: own.abort() for chain, own in stopped}
        except BaseException:
            for sampler in running.values():
                sampler.cancel()
            raise
    return _together({chain: results[chain] for chain in sorted(results)}, partial)


def _counter(made: list[int], chain: int) -> Any:
    """Note how many draws a chain has made, as nutpie tells it from a thread of its own."""

    def note(progress: Any) -> None:
        made[chain] = progress[0].finished_draws

    return note


def _together(results: dict[int, Any], partial: bool) -> Chains:
    """Stack the traces of chains, cut to one length."""
    batches = [result.get_arrow_trace() for result in results.values()]
    tuning = [np.asarray(statistics[0].column("tuning").to_numpy()) for _, statistics in batches]
    kept, length = longest_together([int((~own).sum()) for own in tuning] or [0])
    if length == 0:
        raise KeyboardInterrupt
    chosen = [(batches[place], int(tuning[place].sum())) for place in kept]
    draws = [(draws[0], begin) for (draws, _), begin in chosen]
    statistics = [(statistics[0], begin) for (_, statistics), begin in chosen]
    number = np.array(list(results))[kept]
    return Chains(_columns(draws, length), _columns(statistics, length), number, partial)


def _columns(batches: list[tuple[Any, int]], length: int) -> dict[str, Column]:
    """Turn tables of numbers, one per chain, into arrays; a column with gaps is left out."""
    columns = {}
    for name in batches[0][0].column_names:
        parts = []
        for batch, begin in batches:
            column = batch.column(name)
            described = column.field.metadata
            values = pyarrow.array(column)[begin : begin + length]
            if values.null_count or pyarrow.types.is_string(values.type):
                break
            flat = values.flatten() if hasattr(values, "flatten") else values
            parts.append(flat.to_numpy(zero_copy_only=False).reshape(length, *_shape(described)))
        else:
            columns[name] = Column(np.stack(parts), _words(described, b"dims"))
    return columns


def _shape(described: dict[bytes, bytes]) -> tuple[int, ...]:
    return tuple(map(int, _words(described, b"shape")))


def _words(described: dict[bytes, bytes], name: bytes) -> tuple[str, ...]:
    text = described.get(name, b"").decode()
    return tuple(text.split(",")) if text else ()

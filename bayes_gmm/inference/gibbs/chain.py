"""Chains of the Gibbs sampler: the state of each, and the loop over several chains.

A chain is its parameters, a random generator and a key; `advance` runs further sweeps from there.
Rows that fit into one block are passed to one compiled loop over sweeps. More rows are read again,
block by block, in every sweep; the draws are the same to the last bit.
"""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait

import numpy as np

from bayes_gmm.data import Observations
from bayes_gmm.data.streams import is_on_disk
from bayes_gmm.errors import InputError
from bayes_gmm.kernels.gibbs import Prior, Record, State, Sums, end_sweep, run_sweeps
from bayes_gmm.kernels.kernel import c_order
from bayes_gmm.kernels.labels import sweep_key
from bayes_gmm.kernels.rows import Rows, sorted_blocks
from bayes_gmm.kernels.sampling import BLOCK_ROWS, look_at
from bayes_gmm.model.parameters import Parameters


class Data:
    """The data as the kernels take them, read once if they fit into one block, and the kernel.

    Rows in memory are one block where `needs_all` of them at a time.
    """

    def __init__(self, observations: Observations, *, needs_all: bool = False):
        self.origin, self.inverse_scale = c_order(observations.origin, 1 / observations.scale)
        in_memory = needs_all and not is_on_disk(observations.values)
        size = max(BLOCK_ROWS, observations.n_rows if in_memory else 0)
        self.blocks = sorted_blocks(observations, size)
        self.look = look_at(observations)
        self.whole: Rows | None = None
        if observations.n_rows <= size:
            (self.whole,) = self.blocks()


class Chain:
    """One chain, which goes on where it stopped."""

    def __init__(
        self,
        data: Data,
        prior: Prior,
        start: Parameters,
        record: Record,
        tune: int,
        thin: int,
        seed: np.random.SeedSequence,
    ):
        self._data, self._prior = data, prior
        self._state, self._sums = State.of(start), Sums.zeros(*start.means.shape)
        self.record, self._tune, self._thin = record, tune, thin
        (self._key,) = seed.generate_state(1, np.uint64)
        self._rng = np.random.Generator(np.random.PCG64(seed.spawn(1)[0]))
        # A draw is recorded with the labels that it gives, so the last one needs a pass more.
        self.n_sweeps = tune + thin * len(record.weights) + 1
        self._sweep = 0

    @property
    def numbers(self) -> dict[str, np.ndarray]:
        """What it records besides, (draw,) each."""
        return {}

    def width(self, n_draws: int) -> int:
        """How many components its first draws have at most."""
        return self.record.weights.shape[1]

    @property
    def n_draws(self) -> int:
        """Draws made so far."""
        return max(self._sweep - 1 - self._tune, 0) // self._thin

    @property
    def n_made(self) -> int:
        """Draws made so far, with those before the first that is kept."""
        return min(self._sweep, self._tune) + self.n_draws

    @property
    def is_done(self) -> bool:
        """Whether every draw has been made."""
        return self._sweep == self.n_sweeps

    @property
    def n_left(self) -> int:
        """Draws that it will make still."""
        return self._tune + len(self.record.weights) - self.n_made

    def thin_out(self) -> None:
        """Keep every second draw and make room for as many more, as if it had always done so."""
        kept = len(self.record.weights) // 2
        for field in self.record:
            field[:kept] = field[1 : 2 * kept : 2]
        self._thin *= 2
        self.n_sweeps = self._tune + self._thin * len(self.record.weights) + 1

    def advance(self, n_sweeps: int, stop: threading.Event) -> None:
        """Run some more sweeps, or fewer if told to stop."""
        n_sweeps = min(n_sweeps, self.n_sweeps - self._sweep)
        if self._data.whole is not None:
            self._run(self._data.whole, n_sweeps)
            return
        for _ in range(n_sweeps):
            if not self._sweep_over_blocks(stop):
                return

    def _run(self, rows: Rows, n_sweeps: int) -> None:
        """Run sweeps over rows in one block."""
        data = self._data
        lost = run_sweeps(
            data.look.address, rows, data.origin, data.inverse_scale, self._key, self._sweep,
            n_sweeps, *self._ending(),
        )  # fmt: skip
        require_covariance(lost)
        self._sweep += n_sweeps

    def _sweep_over_blocks(self, stop: threading.Event) -> bool:
        """Run one sweep block by block; False if it was told to stop, and must not go on."""
        key = np.uint64(sweep_key(self._key, self._sweep))
        start, log_normalizer = 0, 0.0
        not_kept = np.empty(0, np.int64)
        for rows in self._data.blocks():
            if stop.is_set():
                return False
            log_normalizer = self._data.look(
                rows.x, rows.weights, start, key, self._data.origin, self._data.inverse_scale,
                *self._in_use(), not_kept, log_normalizer,
            )  # fmt: skip
            start += len(rows.x)
        require_covariance(self._end(log_normalizer))
        self._sweep += 1
        return True

    def _in_use(self) -> tuple[np.ndarray, ...]:
        """The log-quadratic functions of the pass, and the sums that it adds to."""
        return self._state.offset, self._state.means, self._state.whitener, *self._sums

    def _end(self, log_normalizer: float) -> int:
        """Record the state and draw the next."""
        return end_sweep(self._sweep, log_normalizer, *self._ending())

    def _ending(self) -> tuple:
        return (
            self._tune,
            self._thin,
            self._rng,
            self._prior,
            self._state,
            self._sums,
            self.record,
        )


def run(chains: Sequence[Chain], slab: int, cores: int, done: Callable[[int], None]) -> bool:
    """Advance all chains evenly, some at a time, to their ends.

    Returned: whether Ctrl-C stopped the chains before their ends.
    """
    stop = threading.Event()
    pool = ThreadPoolExecutor(min(cores, len(chains)), thread_name_prefix="gibbs")
    shown, interrupted = sum(chain.n_made for chain in chains), False
    try:
        # The pool takes slabs in the order in which they come, so that chains take turns.
        waiting = {pool.submit(chain.advance, slab, stop): chain for chain in chains}
        while waiting:
            for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                chain = waiting.pop(future)
                future.result()
                made = sum(chain.n_made for chain in chains)
                done(made - shown)
                shown = made
                if not chain.is_done:
                    waiting[pool.submit(chain.advance, slab, stop)] = chain
    except KeyboardInterrupt:
        interrupted = True
    finally:
        stop.set()
        pool.shutdown(cancel_futures=True)
    return interrupted


def require_covariance(lost: int) -> None:
    """Raise if a draw has lost the covariance of a component, by its number; -1 is none."""
    if lost >= 0:
        raise InputError(
            "the prior's scale is so small compared with the data that the covariance of component "
            f"{lost} became numerically singular: give a larger scale"
        )

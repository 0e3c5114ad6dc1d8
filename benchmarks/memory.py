"""Peak memory of a fit beyond the rows themselves, in MiB, at several numbers of rows.

python benchmarks/memory.py
"""

import resource
import subprocess
import sys

import numpy as np

import bayes_gmm as bg

SIZES = (100_000, 1_000_000, 8_000_000)
BLOCK = 100_000


def clusters(n_rows: int, rng: np.random.Generator) -> np.ndarray:
    x = np.empty((n_rows, 4))
    for start in range(0, n_rows, BLOCK):
        block = x[start : start + BLOCK]
        block[:] = rng.normal(size=block.shape) + 4 * rng.integers(3, size=(len(block), 1))
    return x


def peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def worker(n_rows: int) -> None:
    rng = np.random.default_rng(0)
    bg.fit(clusters(5_000, rng), 3, seed=0)  # loads and compiles what a fit needs
    x = clusters(n_rows, rng)
    before = peak()
    bg.fit(x, 3, seed=0)
    print(f"{n_rows:10} rows, {x.nbytes / 2**20:6.0f} MiB: {peak() - before:6.1f} MiB beyond them")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        worker(int(sys.argv[1]))
    else:
        for size in SIZES:
            subprocess.run([sys.executable, __file__, str(size)], check=True)

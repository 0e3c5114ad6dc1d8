"""More rows than one would load: fit a memory-mapped file and print the peak memory of the process.

    python benchmarks/rows.py FOLDER [rows]

Writes rows x 4 numbers of 32 bits into FOLDER (1.6 GB for the default of 10^8 rows), fits three
components, and removes the file.
"""

import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

import bayes_gmm as bg

BLOCK = 1_000_000


def write(path: Path, n_rows: int) -> None:
    rows = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=(n_rows, 4))
    rng = np.random.default_rng(1)
    means = 3 * rng.normal(size=(3, 4))
    for start in range(0, n_rows, BLOCK):
        size = min(BLOCK, n_rows - start)
        labels = rng.choice(3, size, p=[0.5, 0.3, 0.2])
        rows[start : start + size] = means[labels] + rng.standard_normal((size, 4))


def fit(path: Path) -> None:
    rows = np.load(path, mmap_mode="r")
    began = time.perf_counter()
    result = bg.fit(rows, 3, seed=1)["optimizer_result"]
    seconds = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(
        f"{len(rows)} rows x 4: log-likelihood {float(result['log_likelihood']):.3f}, converged "
        f"{bool(result['converged'])}, {seconds:.0f} s, peak resident memory {peak:.2f} GiB"
    )


def main(folder: str, n_rows: int) -> None:
    path = Path(folder) / "rows.npy"
    # Each in a process of its own: a peak never falls, and a child inherits its parent's.
    for task in ("write", "fit"):
        subprocess.run([sys.executable, __file__, folder, str(n_rows), task], check=True)
    path.unlink()


if __name__ == "__main__":
    folder, n_rows = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 100_000_000
    match sys.argv[3:]:
        case ["write"]:
            write(Path(folder) / "rows.npy", n_rows)
        case ["fit"]:
            fit(Path(folder) / "rows.npy")
        case _:
            main(folder, n_rows)

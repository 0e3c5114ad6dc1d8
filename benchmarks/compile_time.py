"""How long numba compiles before the first fit, and that it does not before the second.

Each structure is fitted in two fresh processes that share an empty cache: the first one compiles,
the second one loads. Times are CPU seconds, so that other work on the machine does not count.
numba's own setting-up is paid by a function that does nothing, and shown apart.

    python benchmarks/compile_time.py [CODE ...]
"""

import json
import os
import subprocess
import sys
import tempfile
from time import process_time

from bayes_gmm.model.structures import CODES

STAGES = ("numba itself", "pass", "M-step", "whole fit")


def measure(code: str) -> dict[str, float]:
    """Seconds until the first call of each stage returns; the whole fit is all but the first."""
    import numpy as np
    from numba import njit

    from bayes_gmm import datasets
    from bayes_gmm.data import Observations
    from bayes_gmm.inference.em import point
    from bayes_gmm.kernels.chunks import expectation
    from bayes_gmm.kernels.rule import Rule
    from bayes_gmm.model.parameters import Parameters
    from bayes_gmm.model.priors import ConjugatePrior
    from bayes_gmm.model.structures import Structure

    observations = Observations.of(datasets.load("faithful"))
    structure = Structure.of(code, 2)
    covariances = np.array([np.eye(2)] * 2)
    start = Parameters([0.5, 0.5], [[-1.0, -1.0], [1.0, 1.0]], covariances)
    rule = Rule(ConjugatePrior.flat(2, 2), structure, np.ones(2))
    marks = [process_time()]
    njit(lambda number: number + 1)(1)
    marks.append(process_time())
    statistics = expectation(observations)(start.log_quadratic())
    marks.append(process_time())
    rule.maximize(statistics, covariances)
    marks.append(process_time())
    point.estimate(observations, 2, None, structure, n_starts=1, seed=1)
    marks.append(process_time())
    seconds = dict(zip(STAGES, np.diff(marks).tolist(), strict=True))
    seconds["whole fit"] = marks[-1] - marks[1]
    return seconds


def in_fresh_process(code: str, cache: str) -> dict[str, float]:
    found = subprocess.run(
        [sys.executable, __file__, "--measure", code],
        env={**os.environ, "NUMBA_CACHE_DIR": cache},
        check=True,
        capture_output=True,
        text=True,
    )
    return json.loads(found.stdout)


def main(codes: list[str]) -> None:
    print(f"{'CPU seconds':10}  {'first run':^47}  {'second run':^23}")
    print(f"{'':11}" + "".join(f"{stage:>12}" for stage in (*STAGES, "M-step", "whole fit")))
    for code in codes or CODES:
        with tempfile.TemporaryDirectory() as cache:
            cold = in_fresh_process(code, cache)
            warm = in_fresh_process(code, cache)
        numbers = [*(cold[stage] for stage in STAGES), warm["M-step"], warm["whole fit"]]
        print(f"{code:11}" + "".join(f"{number:12.2f}" for number in numbers), flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measure"]:
        print(json.dumps(measure(sys.argv[2])))
    else:
        main(sys.argv[1:])

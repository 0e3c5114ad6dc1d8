from contextlib import contextmanager

import numpy as np
import pytest

from bayes_gmm.data import Observations
from bayes_gmm.inference.gibbs import gibbs
from bayes_gmm.model.parameters import Parameters
from bayes_gmm.model.priors import ConjugatePrior
from bayes_gmm.progress import progress


def test_steps_are_counted_on_stderr(capfd):
    with progress(12, "draws", shown=True) as done:
        done()
        done(11)
    out, err = capfd.readouterr()
    assert out == ""
    assert "draws" in err
    assert "12/12" in err


def test_nothing_is_shown_if_not_asked(capfd):
    with progress(12, "draws", shown=False) as done:
        done()
        done(11)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(("tune", "draws", "thin"), [(7, 30, 1), (0, 10, 4), (5, 1, 3)])
def test_gibbs_counts_draws_whatever_the_thinning(monkeypatch, tune, draws, thin):
    @contextmanager
    def recorded(total, what, *, shown):
        reported.append((total, what))
        yield steps_made.append

    reported, steps_made = [], []
    monkeypatch.setattr(gibbs, "progress", recorded)
    monkeypatch.setattr(gibbs, "SLAB", 1)  # one sweep at a time
    x = np.random.default_rng(0).normal(size=(20, 1))
    start = Parameters([0.5, 0.5], [[-1.0], [1.0]], [[[1.0]], [[1.0]]])
    gibbs.sample(
        Observations.of(x),
        ConjugatePrior.default(x, 2),
        [start] * 3,
        draws=draws,
        tune=tune,
        thin=thin,
        cores=1,
        seed=0,
        progressbar=True,
    )
    assert reported == [(3 * (tune + draws), "draws")]
    assert sum(steps_made) == 3 * (tune + draws)
    assert min(steps_made) >= 0

"""What the estimates predict of new rows; `benchmarks/held_out.py` is the long version."""

import numpy as np
import pytest
from sklearn.mixture import GaussianMixture

import bayes_gmm as bg
from bayes_gmm.simulation import random_mixture


@pytest.mark.validate
@pytest.mark.parametrize(("n_features", "n_components"), [(2, 3), (6, 3), (10, 2)])
def test_no_estimate_predicts_new_rows_much_worse_than_a_simpler_one(n_features, n_components):
    """Aims, in nats a row: MLE - .01 of scikit-learn's, MAP - .02 of the MLE, posterior no worse.

    The rows suffice for each covariance (60 for each of its features and component).
    """
    truth = random_mixture(n_components, n_features, 3.0, seed=n_features)
    n = 60 * n_components * n_features
    x = np.asarray(bg.simulate(truth, n + 5000, seed=1)["x"])
    x, new = x[:n], x[n:]

    def predicted(result):
        return float(bg.log_density(result, new).mean())

    theirs = GaussianMixture(n_components, random_state=1, tol=1e-8, max_iter=5000).fit(x)
    mle = predicted(bg.fit(x, n_components, seed=1))
    mode = predicted(bg.fit(x, n_components, prior="default", seed=1))
    draws = predicted(bg.sample(x, n_components, seed=1, progressbar=False))
    assert mle > theirs.score(new) - 0.01
    assert mode > mle - 0.02
    assert draws > max(mle, mode) - 0.005

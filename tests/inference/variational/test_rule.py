"""The update of variational Bayes in the loop of EM: its bound is right, and never falls."""

import numpy as np
import pytest
from compound_symmetry import CompoundSymmetry
from helpers import random_prior
from variational_bound import Fields, lower_bound

from bayes_gmm.data import Observations
from bayes_gmm.inference.em import em
from bayes_gmm.inference.settings import standardized
from bayes_gmm.inference.variational.rule import VariationalRule
from bayes_gmm.kernels.chunks import expectation
from bayes_gmm.model.priors import ConjugatePrior
from bayes_gmm.model.statistics import SufficientStatistics
from bayes_gmm.model.structures import DRAWN, Structure
from bayes_gmm.model.structures.prior import StructuredPrior

CASES, MOST_STEPS = 300, 40


class Case:
    """Rows that are clustered or not, in any units, some repeated, weighted or incomplete."""

    def __init__(self, seed):
        rng = np.random.default_rng(seed)
        n_rows, n_features = rng.integers(3, 60), rng.integers(1, 5)
        n_components = rng.integers(1, 7)
        apart = rng.choice([0.0, 1.0, 10.0, 1e3])
        x = rng.normal(size=(n_rows, n_features))
        x += apart * rng.normal(size=(3, n_features))[rng.integers(3, size=n_rows)]
        if rng.random() < 0.3:
            x[: n_rows // 2] = x[-(n_rows // 2) :]
        x = x * 10 ** rng.uniform(-3, 3, n_features) + 10 ** rng.uniform(-3, 6)
        if rng.random() < 0.3 and n_features > 1:
            holes = rng.random(x.shape) < 0.2
            holes[np.arange(n_rows), rng.integers(n_features, size=n_rows)] = False
            holes[: n_features + 2] = False
            x = np.where(holes, np.nan, x)
        spread = np.nanstd(x, axis=0) + 1e-3
        self.observations = Observations.of(x, spread=spread, missing="mar")
        if rng.random() < 0.3:
            weights = rng.choice([0.0, 0.5, 1.0, 7.0], n_rows)
            weights[:2] = 1.0
            self.observations = self.observations.weighted(weights, spread=spread)
        names = [*DRAWN, "CS"] if n_features > 1 else ["VVV", "EEE"]
        name = names[rng.integers(len(names))]
        self.structure = (
            CompoundSymmetry() if name == "CS" else Structure.named(name, int(n_features))
        )
        view = self.structure.standardized(self.observations)
        prior = random_prior(rng, n_components, n_features)
        if rng.random() < 0.5:
            sparse = np.full(n_components, 10 ** rng.uniform(-3, 1))
            prior = ConjugatePrior(
                sparse, np.zeros(n_features), 0.01, n_features + 2.0, np.eye(n_features) * 0.3
            )
        self.expect = expectation(view, self.structure)
        self.rule = VariationalRule(StructuredPrior.of(prior, self.structure))
        shares = rng.dirichlet(np.ones(n_components), n_rows)
        rows = np.nan_to_num((x - view.origin) / view.scale)
        center = rows[rng.integers(n_rows, size=n_components)]
        self.start = self.rule.maximize(SufficientStatistics.of(rows, shares, center, 0.0))


@pytest.mark.parametrize("accelerate", [False, True])
def test_no_step_lowers_the_bound(accelerate):
    for seed in range(CASES // 2 * accelerate, CASES // 2 * (1 + accelerate)):
        case = Case(seed)
        run = em.run(
            case.expect, case.rule, case.start, max_iter=MOST_STEPS, tol=1e-9, accelerate=accelerate
        )
        assert run.collapsed is None, seed
        steps = np.diff(run.objectives)
        assert steps.min(initial=0) >= -1e-10 * max(1, *np.abs(run.objectives)), seed
        again = em.evaluate(case.expect, case.rule.at(run.state.candidate.q))
        assert again.objective == run.state.objective, seed


def test_the_bound_is_the_one_written_out():
    rng = np.random.default_rng(1)
    x, prior = rng.normal(size=(15, 3)), random_prior(rng, 2, 3)
    observations = Observations.of(x)
    rule = VariationalRule(
        StructuredPrior.of(standardized(prior, observations), Structure.of("VVV", 3))
    )
    expect = expectation(observations)
    shares = rng.dirichlet(np.ones(2), 15)
    state = em.evaluate(
        expect,
        rule.maximize(
            SufficientStatistics.of(x - observations.origin, shares, np.zeros((2, 3)), 0)
        ),
    )
    for _ in range(4):
        q = state.candidate.q.counted.rescale(observations.origin, observations.scale)
        written_out = lower_bound(x, Fields.of(prior), Fields.of(q))
        assert state.objective - observations.log_volume == pytest.approx(written_out, abs=1e-9)
        state = em.step(expect, rule, state)


@pytest.mark.parametrize("field", ["count", "second"])
def test_extrapolated_statistics_that_are_of_no_rows_give_no_distribution(field):
    case = Case(0)
    given = case.expect(case.start.log_quadratic)
    wrong = {name: getattr(given, name) for name in ("count", "first", "second", "center")}
    wrong[field] = wrong[field] - 1e6
    assert case.rule.maximize(SufficientStatistics(0.0, **wrong)).lost >= 0

import numpy as np
import pytest
from results.synthetic import (
    conjugate_posterior,
    exact_draws,
    one_component,
    posterior_result,
    two_components,
)
from scipy.signal import lfilter

from bayes_gmm.errors import InputError
from bayes_gmm.model.priors import Prior
from bayes_gmm.results import chains
from bayes_gmm.results.convergence import convergence
from bayes_gmm.results.diagnostics import diagnose
from bayes_gmm.results.draws import Draws
from bayes_gmm.results.identification_rules import separation


def names(diagnosis):
    return [finding.name for finding in diagnosis.reasons]


def rebuild(x, draws, n_components, **more):
    return posterior_result(draws, x, Prior.default(x, n_components), **more)


def swap(draws, chain, order=(1, 0)):
    """Renumber the components of one chain."""
    swapped = [array.copy() for array in draws]
    for array in swapped:
        array[chain] = array[chain][:, list(order)]
    return tuple(swapped)


def replace_chain(draws, chain, other):
    replaced = [array.copy() for array in draws]
    for array, instead in zip(replaced, other, strict=True):
        array[chain] = instead
    return tuple(replaced)


@pytest.fixture(scope="module")
def clean():
    x, z, _, result = two_components(5, n_draws=500)
    return x, z, Draws.of(result), result


@pytest.mark.parametrize("seed", range(3))
def test_sound_samples_are_not_flagged(seed):
    for result in (one_component(seed, n_draws=500)[2], two_components(seed, n_draws=500)[3]):
        diagnosis = diagnose(result)
        assert diagnosis.ok, str(diagnosis)
        assert diagnosis.reasons == ()
        assert diagnosis.verdict.startswith("Converged (largest label-free R-hat 1.00")


def test_the_false_alarm_rate_of_rhat_on_eight_scalars_is_small():
    rng = np.random.default_rng(0)
    samples = rng.normal(size=(40, 4, 1000, 8))
    largest = [convergence(sample).rhat.max() for sample in samples]
    assert max(largest) < 1.01
    assert max(largest) > 1.001


def test_a_stuck_chain_is_named(clean):
    x, _, draws, _ = clean
    for stuck in (
        tuple(array[2, :1] for array in draws),  # repeats one draw
        (
            draws.weights[2, :1],
            draws.means[2, :1] + 1e-5 * draws.means[2],
            draws.covariances[2, :1],
        ),
    ):
        diagnosis = diagnose(rebuild(x, replace_chain(draws, 2, stuck), 2))
        assert not diagnosis.ok
        assert names(diagnosis) == ["stuck_chains"]
        assert diagnosis.verdict == "Not converged. Chain 2 hardly moved."
        assert diagnosis.chains["mode"].tolist() == ["0", "0", "stuck", "0"]


def test_a_second_mode_is_told_from_short_chains(clean):
    x, _, draws, _ = clean
    rng = np.random.default_rng(1)
    elsewhere = conjugate_posterior(x, rng.integers(0, 2, len(x)), 2)
    other = tuple(array[0] for array in exact_draws(elsewhere, 1, draws.n_draws, rng))
    diagnosis = diagnose(rebuild(x, replace_chain(draws, 3, other), 2))
    assert not diagnosis.converged
    assert names(diagnosis) == ["several_modes"]
    assert "chains 0, 1, 2 (mean log posterior" in diagnosis.verdict
    assert "chain 3 (mean log posterior" in diagnosis.verdict
    assert diagnosis.reasons[0].value == 2
    assert diagnosis.chains["mode"].tolist() == ["0", "0", "0", "1"]


@pytest.mark.parametrize("n_draws", [100, 400])
def test_short_chains_are_told_from_several_modes(n_draws):
    x, exact, _ = one_component(2, d=1)
    rng = np.random.default_rng(n_draws)
    rho = 0.98
    noise = rng.normal(size=(2, 4, n_draws + 500)) * np.sqrt(1 - rho**2)
    slow = lfilter([1], [1, -rho], noise, axis=2)[:, :, 500:]
    variance = exact.scale[0, 0, 0] / exact.degrees_of_freedom[0]
    means = exact.mean[0, 0] + np.sqrt(variance / len(x)) * slow[0]
    draws = (
        np.ones((4, n_draws, 1)),
        means[..., None, None],
        (variance * np.exp(0.2 * slow[1]))[..., None, None, None],
    )
    diagnosis = diagnose(rebuild(x, draws, 1))
    assert not diagnosis.converged
    assert names(diagnosis) == ["short_chains"]
    assert "Draw about" in diagnosis.reasons[0].advice
    assert diagnosis.reasons[0].value > diagnosis.reasons[0].threshold


def test_few_draws_are_short_chains(clean):
    x, _, draws, _ = clean
    few = diagnose(rebuild(x, tuple(array[:, :80] for array in draws), 2))
    assert names(few) == ["short_chains"]
    tiny = diagnose(rebuild(x, tuple(array[:, :4] for array in draws), 2))
    assert names(tiny) == ["short_chains"]
    assert "4 draws a chain tell nothing" in tiny.verdict
    assert "short_chains" in str(tiny)


def test_label_switching_alone_is_no_fault_and_is_reported(clean):
    x, _, draws, _ = clean
    rng = np.random.default_rng(3)
    order = np.tile([0, 1], (4, draws.n_draws, 1))
    order[1] = [1, 0]
    flipped = rng.random(draws.n_draws) < 0.3
    order[2, flipped] = [1, 0]
    result = rebuild(x, tuple(draws), 2, permutation=order)
    diagnosis = diagnose(result)

    assert diagnosis.ok
    assert names(diagnosis) == ["label_switching"]
    assert diagnosis.verdict.endswith("although labels switched.")
    note = diagnosis.reasons[0]
    assert note.value == pytest.approx((1 + flipped.mean()) / 4)
    assert "between chains and within chain 2" in note.statement
    np.testing.assert_allclose(diagnosis.chains["other labels"], [0, 1, flipped.mean(), 0])
    np.testing.assert_allclose(diagnosis.chains["switches"], [0, 0, flipped.mean(), 0])
    raw = Draws.of(result).reorder(np.argsort(order, axis=-1))
    assert convergence(raw.means[..., 0, :]).rhat.min() > 1.3  # what a naive look would see


def test_components_that_change_from_chain_to_chain_are_no_failure_of_the_mixture(clean):
    x, _, draws, _ = clean
    diagnosis = diagnose(rebuild(x, swap(draws, 3), 2))
    assert diagnosis.converged
    assert not diagnosis.identified
    assert not diagnosis.ok
    assert names(diagnosis)[0] == "labels_disagree"
    assert "not component by component" in diagnosis.verdict


def test_two_components_of_the_same_cluster_are_not_told_apart():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 2))
    exact = conjugate_posterior(x, rng.integers(0, 2, len(x)), 2)
    diagnosis = diagnose(rebuild(x, exact_draws(exact, 4, 500, rng), 2))
    assert diagnosis.converged
    assert names(diagnosis) == ["not_told_apart"]
    assert diagnosis.reasons[0].value < 2


def test_separation_is_that_of_the_parameter_that_tells_best(clean):
    draws = clean[2]
    distances = []
    for values in (draws.weights, draws.means[..., 0], draws.means[..., 1]):
        difference = values[..., 0] - values[..., 1]
        distances.append(abs(difference.mean()) / difference.std())
    assert separation(draws, 0, 1) == pytest.approx(max(distances))


def test_a_component_without_rows_is_named():
    rng = np.random.default_rng(0)
    x = np.vstack([rng.normal(size=(99, 1)), [[30.0]]])
    z = np.array([0] * 99 + [1])
    diagnosis = diagnose(rebuild(x, exact_draws(conjugate_posterior(x, z, 2), 4, 500, rng), 2))
    assert diagnosis.converged
    assert "nearly_empty" in names(diagnosis)
    assert any(f.statement.startswith("Component 1 holds") for f in diagnosis.reasons)


@pytest.mark.parametrize(
    ("share", "found", "ok"),
    [
        (0.02, "divergences", False),
        (0.001, "few_divergences", True),
    ],
)
def test_divergences_count_from_one_in_a_thousand(clean, share, found, ok):
    x, _, draws, _ = clean
    diverging = np.zeros((4, draws.n_draws), dtype=bool)
    diverging[0, : round(share * diverging.size)] = True
    diagnosis = diagnose(rebuild(x, tuple(draws), 2, diverging=diverging))
    assert diagnosis.ok is ok
    assert names(diagnosis) == [found]
    assert diagnosis.reasons[0].value == pytest.approx(share)


def test_a_log_density_that_is_not_finite_is_found(clean):
    result = clean[3].copy(deep=True)
    result["invariants"]["log_posterior"][1, 7] = -np.inf
    diagnosis = diagnose(result)
    assert not diagnosis.converged
    assert names(diagnosis) == ["not_finite"]
    assert "not_finite" in str(diagnosis)


def test_one_chain_is_compared_with_itself(clean):
    x, _, draws, _ = clean
    assert names(diagnose(rebuild(x, tuple(array[:1] for array in draws), 2))) == ["one_chain"]
    drifting = draws.weights[:1], draws.means[:1].copy(), draws.covariances[:1]
    drifting[1][0, :250] += 3.0
    assert "short_chains" in names(diagnose(rebuild(x, drifting, 2)))


def test_the_verdict_does_not_depend_on_the_units():
    x, _, _, result = two_components(5, n_draws=250)
    draws = Draws.of(result)
    shift, scale = np.array([4e-9, -3e8]), np.array([1e-9, 1e7])
    moved = (
        draws.weights,
        shift + scale * draws.means,
        draws.covariances * np.outer(scale, scale),
    )
    other = diagnose(rebuild(shift + scale * x, moved, 2))
    here = diagnose(result)
    assert here.ok == other.ok
    np.testing.assert_allclose(other.table, here.table, rtol=1e-3)


def test_chains_group_by_what_they_found():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(6, 400, 3))
    values[1] += [0.0, 1.0, 0.0]
    values[4] += [0.0, 1.0, 0.0]
    values[5] += 0.02 * np.arange(400)[:, None]
    assert chains.modes(values) == [[0, 2, 3], [1, 4]]
    assert chains.settled(values).tolist() == [True] * 5 + [False]


def test_convergence_survives_constants_and_short_chains():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(4, 100, 3))
    values[..., 1] = 7.0
    measured = convergence(values)
    assert np.isnan(measured.rhat).tolist() == [False, True, False]
    tiny = convergence(1e9 + 1e-5 * values)
    np.testing.assert_allclose(tiny.ess_bulk, measured.ess_bulk, rtol=0.05)
    assert np.isnan(convergence(values[:, :5]).rhat).all()
    apart = convergence(np.broadcast_to(np.arange(4.0)[:, None, None], (4, 100, 1)))
    assert apart.rhat[0] > 1e6


def test_only_a_posterior_is_diagnosed():
    with pytest.raises(InputError, match=r"must be a result of bg.sample; got .* type str"):
        diagnose("posterior")

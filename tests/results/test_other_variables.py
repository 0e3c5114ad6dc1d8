"""What else a model drew: judged with the mixture, whatever components are called."""

import numpy as np
import pytest
import xarray as xr
from results.synthetic import point_result, two_components

from bayes_gmm import plots
from bayes_gmm.reports import write_report
from bayes_gmm.results.analysis import save
from bayes_gmm.results.compare import compare
from bayes_gmm.results.diagnostics import diagnose
from bayes_gmm.results.loo import loo
from bayes_gmm.results.predictive import predict
from bayes_gmm.results.reading import point_parameters
from bayes_gmm.results.sensitivity import sensitivity
from bayes_gmm.results.verdict_inputs import (
    LABEL_INVARIANT,
    MOST_ENTRIES,
    RELABELLED,
    label_invariant,
    of_components,
)

SHAPE = (4, 500)


@pytest.fixture(scope="module")
def sound():
    return two_components(5, n_draws=SHAPE[1])[3]


@pytest.fixture
def rng():
    return np.random.default_rng(7)


def with_variables(posterior, **variables):
    """The same result, whose model has further variables: (own dims, values)."""
    group = posterior["posterior"].to_dataset()
    result = posterior.copy()
    more = {name: (("chain", "draw", *dims), values) for name, (dims, values) in variables.items()}
    result["posterior"] = xr.DataTree(group.assign(more))
    return result


def names(diagnosis):
    return [finding.name for finding in diagnosis.reasons]


def test_without_other_variables_there_is_nothing(sound):
    assert label_invariant(sound)[0] == of_components(sound)[0] == []
    assert label_invariant(sound)[1].shape == of_components(sound)[1].shape == (*SHAPE, 0)


def test_a_hyperparameter_that_has_not_converged_is_no_convergence(sound, rng):
    tau = rng.normal(size=SHAPE)
    assert diagnose(with_variables(sound, tau=((), tau))).ok
    apart = tau + np.array([0, 0, 0, 3.0])[:, None]
    found = diagnose(with_variables(sound, tau=((), apart)))
    assert names(found) == ["several_modes"]
    assert found.table.loc[(LABEL_INVARIANT, "tau"), "rhat"] > 1.1
    drifting = tau + np.linspace(0, 3, SHAPE[1])
    found = diagnose(with_variables(sound, tau=((), drifting)))
    assert names(found) == ["short_chains"]
    assert "too short: tau has" in found.verdict


@pytest.mark.parametrize("how", ["dim cluster", "no names of dims"])
def test_what_belongs_to_components_converges_whatever_they_are_called(sound, rng, how):
    tau = rng.normal(size=(*SHAPE, 2)) * 0.1 + [1.0, 5.0]
    switched = tau.copy()
    switched[1] = tau[1, :, ::-1]

    def diagnosis(values):
        dims = ("cluster",) if how == "dim cluster" else ("tau_dim_0",)
        return diagnose(with_variables(sound, tau=(dims, values)))

    assert diagnosis(tau).ok
    assert diagnosis(switched).ok
    tau[3, :, 0] += 1.0
    assert names(diagnosis(tau)) == ["several_modes"]


def test_a_dim_with_a_name_of_its_own_is_taken_at_its_word(sound, rng):
    tau = rng.normal(size=(*SHAPE, 2)) * 0.1 + [1.0, 5.0]
    tau[1] = tau[1, :, ::-1]
    found = diagnose(with_variables(sound, tau=(("side",), tau)))
    assert names(found) == ["several_modes"]
    assert (LABEL_INVARIANT, "tau[0]") in found.table.index


@pytest.mark.parametrize("names_of_variables", [("w1", "w2"), ("alpha", "beta"), ("w", "w[0]")])
def test_names_of_variables_decide_nothing(sound, rng, names_of_variables):
    """As many variables as components, each along the dim cluster, by whatever names."""
    draws = rng.normal(size=(2, *SHAPE, 2)) + np.array([0.0, 9.0])[:, None, None, None]
    result = with_variables(
        sound, **{n: (("cluster",), d) for n, d in zip(names_of_variables, draws, strict=True)}
    )
    found, values = label_invariant(result)
    assert found == [f"{name}[sorted {k}]" for name in names_of_variables for k in range(2)]
    expected = np.concatenate([np.sort(each, axis=2) for each in draws], axis=2)
    np.testing.assert_array_equal(values, expected)
    assert diagnose(result).ok


def test_numbered_variables_without_a_dim_are_not_taken_for_components_but_advised(sound, rng):
    """Chains that label the mixture differently differ in them: the advice says what to do."""
    tau = rng.normal(size=(*SHAPE, 2)) * 0.1 + [1.0, 5.0]
    tau[1] = tau[1, :, ::-1]
    result = with_variables(sound, **{f"tau_{k}": ((), tau[..., k]) for k in range(2)})
    names_free, values = label_invariant(result)
    assert names_free == ["tau_0", "tau_1"]
    np.testing.assert_array_equal(values, tau)
    (reason,) = diagnose(result).reasons
    assert reason.name == "several_modes"
    assert "agree on the mixture, but differ in tau_0, tau_1" in reason.advice
    assert 'dims="cluster"' in reason.advice
    alike = tau.copy()
    alike[1] = tau[1, :, ::-1]
    assert diagnose(with_variables(sound, **{f"tau_{k}": ((), alike[..., k]) for k in range(2)})).ok


def test_variables_of_the_same_label_stay_apart(sound, rng):
    """A scalar may be called what an entry of a vector is called in a table."""
    vector, scalar = rng.normal(size=(*SHAPE, 3)), rng.normal(size=SHAPE) + 7
    result = with_variables(sound, **{"tau": (("row",), vector), "tau[0]": ((), scalar)})
    found, values = label_invariant(result)
    assert len(found) == values.shape[2] == 4
    np.testing.assert_array_equal(values, np.concatenate([vector, scalar[..., None]], axis=2))
    assert found == ["tau[0]", "tau[1]", "tau[2]", "variable tau[0]"]
    diagnosis = diagnose(result)
    assert diagnosis.table.index.is_unique
    assert diagnosis.ok


def test_names_tell_entries_apart_and_agree_with_values(sound, rng):
    draws = rng.normal(size=(*SHAPE, 2, 2))
    result = with_variables(
        sound,
        size=((), draws[..., 0, 0]),
        level=(("cluster", "feature"), draws),
        flat=(("feature", "cluster"), draws),
    )
    names_free, free = label_invariant(result)
    assert names_free[0] == "size"
    assert names_free[1:5] == [f"level[sorted {k}, x{j}]" for k in (0, 1) for j in (0, 1)]
    assert names_free[5:] == [f"flat[x{j}, sorted {k}]" for j in (0, 1) for k in (0, 1)]
    np.testing.assert_array_equal(free[..., 1:5].reshape(draws.shape), np.sort(draws, axis=2))
    np.testing.assert_array_equal(free[..., 5:].reshape(draws.shape), np.sort(draws, axis=3))
    scalars, named = of_components(result)
    assert [scalar.name for scalar in scalars[:2]] == ["level[0, x0]", "level[0, x1]"]
    assert [scalar.cluster for scalar in scalars] == [0, 0, 1, 1, 0, 0, 1, 1]
    np.testing.assert_array_equal(named[..., :4].reshape(draws.shape), draws)
    np.testing.assert_array_equal(named[..., 4:].reshape(draws.shape), draws.swapaxes(2, 3))
    table = diagnose(result).table
    assert table.index.is_unique
    assert (RELABELLED, "level[1, x0]") in table.index
    assert (LABEL_INVARIANT, "flat[x1, sorted 0]") in table.index


def test_names_of_ours_are_told_from_those_of_the_model(sound, rng):
    values = rng.normal(size=(*SHAPE, 2))
    same = with_variables(
        sound,
        sd=(("cluster",), values),
        log_likelihood=((), values[..., 0]),
        pair=((), 1.0 * values[..., 1]),
    )
    table = diagnose(same).table
    assert table.index.is_unique
    assert (RELABELLED, "variable sd[1]") in table.index
    assert (LABEL_INVARIANT, "variable log_likelihood") in table.index
    before = diagnose(sound).table
    for quantity in [(LABEL_INVARIANT, "log_likelihood"), (RELABELLED, "sd[1, x0]")]:
        assert table.loc[quantity].equals(before.loc[quantity])


def test_of_a_large_variable_some_entries_are_judged(sound, rng):
    many = rng.normal(size=(*SHAPE, 1000))
    found, values = label_invariant(with_variables(sound, many=(("row",), many)))
    assert len(found) == MOST_ENTRIES
    assert (found[0], found[-1]) == ("many[0]", "many[999]")
    np.testing.assert_array_equal(values[..., -1], many[..., -1])


def test_what_is_infinite_undefined_or_constant_is_no_obstacle(sound, rng):
    odd = rng.normal(size=SHAPE)
    odd[rng.random(SHAPE) < 0.1] = -np.inf
    odd[rng.random(SHAPE) < 0.1] = np.nan
    constant = 1.0 + 1e-16 * rng.normal(size=SHAPE)
    constant[0, 0] = np.nextafter(1.0, 2.0)
    flag = rng.random(SHAPE) < 0.5
    variables = {
        "odd": odd,
        "constant": constant,
        "flag": flag,
        "nothing": np.full(SHAPE, np.nan),
    }
    result = with_variables(sound, **{name: ((), value) for name, value in variables.items()})
    found = diagnose(result)
    assert found.ok, str(found)
    rhat = found.table.loc[LABEL_INVARIANT, "rhat"]
    assert rhat[["odd", "flag"]].notna().all()
    assert rhat[["constant", "nothing"]].isna().all()
    variables["odd"][3] = np.nan  # one chain where it is never defined
    result = with_variables(sound, odd=((), variables["odd"]))
    assert not diagnose(result).converged


def test_every_function_takes_a_result_with_other_variables(sound, rng, tmp_path):
    draws = rng.normal(size=(*SHAPE, 2))
    result = with_variables(
        sound, tau=((), draws[..., 0]), level=(("cluster",), draws), free=(("free_dim_0",), draws)
    )
    x = sound["observed_data"]["x"].to_numpy()
    point = point_result(point_parameters(sound), x)
    for function in (loo, predict, sensitivity, plots.ranks, plots.mixture):
        function(result)
    compare(point, result)
    plots.comparison(point, result)
    diagnosis = diagnose(result)
    write_report({"posterior": result, "diagnosis": diagnosis}, tmp_path / "report.html")
    with xr.open_datatree(save(result, tmp_path / "result.nc")) as read:
        xr.testing.assert_identical(
            read["posterior"].to_dataset().load(), result["posterior"].to_dataset()
        )
    assert diagnose(result.isel(chain=[0, 2])).ok

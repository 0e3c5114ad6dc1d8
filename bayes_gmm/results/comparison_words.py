"""What stands out in a comparison, in words."""

import numpy as np
import xarray as xr

from bayes_gmm.results.tables import some

NOT_RUN = "not run"  # EM was not run from a draw with a higher likelihood
FEWEST_STARTS = 60  # to advise; with more than 30 the search also goes on longer


def sentences(data: xr.Dataset) -> list[str]:
    """Say what stands out."""
    estimators = [data.sel(estimator=name) for name in data["estimator"].to_numpy()]
    said = [_of_rows(one) for one in estimators]
    said += _of_constraints(data)
    said.append(_of_likelihood(data))
    for one in estimators:
        said += [_of_higher_draw(one), _of_standard_errors(one), _of_intervals(one)]
    return [*filter(None, said), *_of_components(data)]


def surpassed(one: xr.Dataset) -> bool:
    """Whether a draw has a higher likelihood than an estimate that is said to maximize it."""
    free = bool(one["maximizes_likelihood"]) and not str(one["constraint"].item())
    return free and float(one["log_likelihood_quantile"]) < 1


def _of_rows(one: xr.Dataset) -> str:
    rows = str(one["rows_decide"].item())
    return f"{one['estimator'].item()}: {rows}" if rows else ""


def _of_constraints(data: xr.Dataset) -> list[str]:
    """Say which estimates are of another model than the draws, and what follows."""
    held: dict[str, list[str]] = {}
    for name, what in zip(
        *(data[of].to_numpy() for of in ("estimator", "constraint")), strict=True
    ):
        held.setdefault(str(what), []).append(str(name))
    return [
        f"{' and '.join(names)}: {what}. These are two models: a draw may have a higher "
        "log-likelihood, and where an estimate lies outside an interval, that may be why."
        for what, names in held.items()
        if what
    ]


def _of_likelihood(data: xr.Dataset) -> str:
    lower, upper = data["draws_log_likelihood_lower"], data["draws_log_likelihood_upper"]
    said = (
        f"Log-likelihood of the draws: mean {float(data['draws_log_likelihood_mean']):.2f}, "
        f"sd {float(data['draws_log_likelihood_sd']):.2f}, {data.attrs['ci_prob']:.0%} interval "
        f"{float(lower):.2f} to {float(upper):.2f}, "
        f"largest {float(data['draws_log_likelihood_max']):.2f}."
    )
    if (data["constraint"] != "").all():
        return said
    return (
        f"{said} With many rows a maximum lies {data.attrs['n_parameters'] / 2:g} above the mean, "
        f"half its {data.attrs['n_parameters']} parameters."
    )


def _of_higher_draw(one: xr.Dataset) -> str:
    """Say why a draw has a higher likelihood than a maximum, and what to do if it was missed."""
    if not surpassed(one):
        return ""
    name, meaning = str(one["estimator"].item()), str(one["em_from_draw"].item())
    height, best = float(one["log_likelihood"]), float(one["draws_log_likelihood_max"])
    end = float(one["em_from_draw_log_likelihood"])
    if str(one["rows_decide"].item()):
        why = "settle the row that decides a component first."
    elif meaning == "unconverged":
        why = "EM had not converged at the estimate: raise max_iter of bg.fit."
    elif meaning == "missed":
        n_starts = max(2 * int(one["n_starts"]), FEWEST_STARTS)
        why = (
            f"EM from there ends at {end:.2f}. The fit missed this better optimum: search with "
            f"n_starts={n_starts} (on the command line --starts {n_starts})."
        )
    elif meaning == "set aside":
        why = (
            f"EM from there ends at {end:.2f}, at an optimum that is expected to predict new rows "
            "worse than the estimate, and is set aside for that."
        )
    elif meaning == "collapsed":
        why = "EM from there collapses, because the likelihood is unbounded there."
    else:
        why = "the likelihood has a higher peak than this estimate."
    return f"A draw reaches {best:.2f}, above the {name} at {height:.2f}: {why}"


def _of_standard_errors(one: xr.Dataset) -> str:
    if one["standard_error"].isnull().any() and one["standard_error"].notnull().any():
        return (
            f"Some parameters of the {one['estimator'].item()} have no standard error; in Python "
            "bg.standard_errors says why."
        )
    return ""


def _of_intervals(one: xr.Dataset) -> str:
    name = one["estimator"].item()
    identified = one["why_not"].to_numpy() == ""
    # A variance lies outside its interval where the sd does, and need not be named too.
    variance = (one["kind"] == "covariance") & (one["feature"] == one["feature_bis"])
    shown = ~(one["covered"] | variance).to_numpy() & identified
    outside = [str(parameter) for parameter in one["parameter"].to_numpy()[shown]]
    if outside:
        return f"{name} outside the interval: {some(outside, 'marked in the table')}."
    every = "every" if identified.all() else "every identified"
    return f"{name}: {every} parameter lies inside its {one.attrs['ci_prob']:.0%} interval."


def _of_components(data: xr.Dataset) -> list[str]:
    """Say which components are not identified, those with the same reason together."""
    clusters, reasons = data["cluster"].to_numpy(), data["why_not"].to_numpy().astype(str)
    why = {int(k): reasons[clusters == k][0] for k in np.unique(clusters)}
    said = []
    for reason in dict.fromkeys(filter(None, why.values())):
        which = [k for k, own in why.items() if own == reason]
        names = some(which, "dashes in the table")
        several = len(which) > 1
        said.append(
            f"Component{'s' * several} {names} {'are' if several else 'is'} not identified "
            f"({reason}), so {'their' if several else 'its'} parameters are not listed. Densities "
            "and predictions remain valid."
        )
    return said

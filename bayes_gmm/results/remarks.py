"""What `fit`, `select`, the report and the command line say about the data behind an estimate.

Rows that decide a component alone come first, then places where starts of EM collapsed; a value
that is both is said once, with the starts. Of optima that were set aside: the chosen one is
expected to predict best, or under a proper prior holds most of the posterior among those with as
many components in use. Another may be higher, and one that uses fewer components may hold more of
the posterior.
"""

from collections.abc import Sequence

import numpy as np
import xarray as xr

from bayes_gmm.data import Observations
from bayes_gmm.errors import CollapseError, CollapseWarning, OutlierWarning
from bayes_gmm.model.parameters import Parameters
from bayes_gmm.posterior.deciding_rows import MOST, DecidingRow, deciding_rows
from bayes_gmm.posterior.poles import LIMIT, MISSING, Pole, poles
from bayes_gmm.results.labels import records
from bayes_gmm.results.reading import keeps_rows, kept_observations
from bayes_gmm.results.tables import counted, some

REPEATED = 0.2  # share of the starts that collapse on one value, from which that is said
SAME_ROW = 0.5  # the same for one row
NEARLY_ALL = 0.75  # the same for any few rows, where rows are few for so many parameters
FEW_ROWS = 5  # rows for each parameter, below which they are few
SHOWN = 3
MATTERS = 0.05  # nats; less is how closely optima are approached


def sentence(search: xr.Dataset, n_rows: float, n_features: int) -> str:
    """Say where starts collapsed, if what is returned is what was left beside that."""
    lost = search["start_collapsed"].to_numpy()
    n_starts, n_lost = lost.size, int(lost.sum())
    head = f"{n_lost} of {counted(n_starts, 'start')} collapsed"
    found = frequent(records("pole", Pole, search), n_starts)
    if found:
        return (
            f"{head}, {_places(found)}. The likelihood is unbounded there; the estimate is the "
            f"best of the other EM runs. {advice(found, n_features)}"
        )
    n_parameters = int(search["n_parameters"])
    if n_lost >= max(2, NEARLY_ALL * n_starts) and n_rows < FEW_ROWS * n_parameters:
        return (
            f"{head}, each on a few rows: {n_rows:.6g} rows are too few for {n_parameters} "
            'parameters. Use prior="default", fewer components or a covariance structure with '
            "fewer parameters."
        )
    return ""


def of_error(error: CollapseError, observations: Observations) -> list[Pole]:
    """Find where enough of the starts collapsed of which all did."""
    n_starts = len({collapse.start for collapse in error.collapses})
    return frequent(poles(error.collapses, observations), n_starts)


def worded(error: CollapseError, observations: Observations) -> CollapseError:
    """Say in an error of the search where its starts collapsed."""
    found = of_error(error, observations)
    if not found:
        return error
    head = str(error).partition(":")[0]
    todo = advice(found, observations.n_features)
    message = f"{head}, {_places(found)}, where the likelihood is unbounded. {todo}"
    return CollapseError(message, error.collapses)


def frequent(found: Sequence[Pole], n_starts: int) -> list[Pole]:
    """Poles at which enough of the starts collapsed; one row only where no value repeats."""
    least = min(2, n_starts)
    at_values = [
        pole for pole in found if not pole.row and pole.n_starts >= max(least, REPEATED * n_starts)
    ]
    at_row = [
        pole for pole in found if pole.row and pole.n_starts >= max(least, SAME_ROW * n_starts)
    ]
    return at_values or at_row


def place(pole: Pole) -> str:
    """Say which value repeats how often, or which row it is."""
    entry = f"{pole.feature} = {pole.value:z.10g}"
    if not pole.row:
        return f"{entry} in {pole.share:.0%} of the rows"
    return f"row {pole.row} ({entry})" if pole.feature else f"row {pole.row}"


def _places(found: Sequence[Pole]) -> str:
    """Where, and how many starts if there are several."""
    several = max(pole.n_starts for pole in found) > 1
    return " and ".join(
        (f"{pole.n_starts} on " if several else "on ") + place(pole) for pole in found
    )


def advice(found: Sequence[Pole], n_features: int) -> str:
    """What the values may be, and what to do."""
    codes, limits = (
        [f"{pole.feature} = {pole.value:.10g}" for pole in found if pole.looks_like == kind]
        for kind in (MISSING, LIMIT)
    )
    said = []
    if codes:
        looks = "looks" if len(codes) == 1 else "look"
        said.append(
            f"{' and '.join(codes)} {looks} like a code for a missing entry: leave these rows out."
        )
    if limits:
        ends = "is the limit of its column" if len(limits) == 1 else "are limits of their columns"
        said.append(f"{' and '.join(limits)} {ends}, as if values were cut off there.")
    columns = list(dict.fromkeys(pole.feature for pole in found if not pole.row))
    if not columns:
        said.append(f'Check row {found[0].row}, or use prior="default".')
    elif len(columns) < n_features:
        said.append(f'Use prior="default", or fit without {" and ".join(columns)}.')
    else:
        said.append('Use prior="default".')
    return " ".join(said)


def rows_that_decide(result: xr.DataTree, parameters: Parameters) -> list[DecidingRow]:
    """Find rows that decide a component alone among those that a result keeps."""
    if not keeps_rows(result):
        return []
    return deciding_rows(parameters, kept_observations(result))


def by_component(found: Sequence[DecidingRow]) -> list[list[DecidingRow]]:
    """Put rows together that decide the same component in the same column."""
    groups: dict[tuple[str, int], list[DecidingRow]] = {}
    for one in found:
        groups.setdefault((one.feature, one.component), []).append(one)
    return list(groups.values())


def stated(group: Sequence[DecidingRow]) -> tuple[str, str]:
    """Say which rows, how far they are and what they make up of the component; and what to do."""
    first, several = group[0], sum(one.n_rows for one in group) > 1
    named = [_named(one) for one in group[:SHOWN]]
    if len(group) > SHOWN:
        named.append(f"{len(group) - SHOWN} more")
    who = " and ".join([", ".join(named[:-1]), named[-1]] if len(named) > 1 else named)
    distances = [one.deviations for one in group]
    distance = f"{min(distances):,.0f}"
    if len(group) > 1:
        distance += f" to {max(distances):,.0f}"
    share, part = first.share_of_variance, f"variance in {first.feature}"
    if first.share_of_rows >= MOST:
        share, part = first.share_of_rows, "rows"
    codes = [f"{one.value:.10g}" for one in group if one.n_rows > 1]
    if codes:
        looks = "look" + "s" * (len(codes) == 1)
        advice = (
            f"{' and '.join(codes)} {looks} like a code for a missing entry: leave these rows out"
        )
    elif several:
        advice = "Check the entries, or leave the rows out"
    else:
        advice = "Check the entry, or leave the row out"
    verb = "determine" if share >= MOST else "strongly affect"
    statement = (
        f"{who[0].upper()}{who[1:]} {verb}{'s' * (not several)} component {first.component}: "
        f"{distance} robust standard deviations from the median, and {share:.0%} of the "
        f"component's {part}."
    )
    return statement, f"{advice}."


def _named(one: DecidingRow) -> str:
    """Name a row by its label, and by its place if that is another."""
    place = "" if one.row == str(one.position) else f" at position {one.position}"
    entry = f"{one.feature} = {one.value:.10g}"
    if one.n_rows == 1:
        return f"row {one.row}{place} ({entry})"
    return f"{one.n_rows} rows with {entry} (the first is row {one.row}{place})"


def search_warnings(search: xr.Dataset, n_rows: float, n_features: int) -> list[UserWarning]:
    """Read the warnings off what a result keeps of the search for its optimum."""
    if "pole" not in search.sizes:
        return []
    at = frequent(records("pole", Pole, search), search.sizes["start"])
    places = {(pole.feature, pole.value) for pole in at if not pole.row}
    rows = [
        one
        for one in records("deciding", DecidingRow, search)
        if (one.feature, one.value) not in places
    ]
    collapsed = sentence(search, n_rows, n_features)
    return [
        *(OutlierWarning(" ".join(stated(group))) for group in by_component(rows)),
        *([CollapseWarning(collapsed)] if collapsed else []),
    ]


def how_found(search: xr.Dataset) -> str:
    """Say how many starts led to the optimum."""
    starts, reached = counted(search.sizes["start"], "start"), int(search["optimum_starts"][0])
    if reached:
        return f"{reached} of {starts} led to the optimum"
    return f"optimum found by moving components of another one, to which {starts} led"


def remarks(search: xr.Dataset) -> list[str]:
    """Sentences about the search for a point estimate; none where all agree."""
    if "component_spurious" not in search:
        return []  # a result of an older version
    said = []
    height, mass = (search[f"optimum_{name}"].to_numpy() for name in ("objective", "log_mass"))
    higher = float(height.max() - height[0])
    if higher > MATTERS:
        why = "it holds less posterior mass"
        if np.isnan(mass[0]):
            why = "it is expected to predict new rows worse"
        said.append(f"An optimum that is higher by {higher:.1f} nats was rejected, because {why}.")
    more = float(np.nanmax(mass) - mass[0]) if np.isfinite(mass).any() else 0.0
    if more > MATTERS:
        said.append(
            f"A mode with an empty component holds more posterior mass, by {more:.1f} nats: also "
            "fit one component fewer, and compare."
        )
    few = np.flatnonzero(search["component_spurious"].to_numpy())
    if few.size:
        which = some(few, "component_spurious in the result")
        plural = "s" if few.size > 1 else ""
        said.append(
            f"Component{plural} {which} {'have' if plural else 'has'} too few rows for a separate "
            "covariance: fit fewer components, or a structure with fewer parameters."
        )
    return said

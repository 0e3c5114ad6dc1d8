"""What is said of the places where starts of EM collapsed, the same in every verb."""

from collections.abc import Sequence

import xarray as xr

from bayes_gmm.data import Observations
from bayes_gmm.errors import CollapseError
from bayes_gmm.results.poles import LIMIT, MISSING, Pole, of_arrays, poles
from bayes_gmm.results.tables import counted

REPEATED = 0.2  # share of the starts that collapse on one value, from which that is said
SAME_ROW = 0.5  # the same for one row
MOST = 0.75  # the same for any few rows, where rows are few for so many parameters
FEW_ROWS = 5  # rows for each parameter, below which they are few


def sentence(search: xr.Dataset, n_rows: float, n_features: int) -> str:
    """Say where starts collapsed, if what is returned is what was left beside that."""
    lost = search["start_collapsed"].to_numpy()
    n_starts, n_lost = lost.size, int(lost.sum())
    head = f"{n_lost} of {counted(n_starts, 'start')} collapsed"
    found = told(of_arrays(search), n_starts)
    if found:
        return (
            f"{head}, {_places(found)}. The likelihood is unbounded there, and the estimate is "
            f"what is left beside that. {advice(found, n_features)}"
        )
    n_parameters = int(search["n_parameters"])
    if n_lost >= max(2, MOST * n_starts) and n_rows < FEW_ROWS * n_parameters:
        return (
            f"{head}, each onto a few rows: {n_rows:.6g} rows are few for {n_parameters} "
            'parameters. Use prior="default", fewer components or a covariance structure with '
            "fewer parameters."
        )
    return ""


def of_error(error: CollapseError, observations: Observations) -> list[Pole]:
    """Find where enough of the starts collapsed of which all did."""
    n_starts = len({collapse.start for collapse in error.collapses})
    return told(poles(error.collapses, observations), n_starts)


def worded(error: CollapseError, observations: Observations) -> CollapseError:
    """Say in an error of the search where its starts collapsed."""
    found = of_error(error, observations)
    if not found:
        return error
    head = str(error).partition(":")[0]
    todo = advice(found, observations.n_features)
    message = f"{head}, {_places(found)}, where the likelihood is unbounded. {todo}"
    return CollapseError(message, error.collapses)


def told(found: Sequence[Pole], n_starts: int) -> list[Pole]:
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
        ends = "ends its column" if len(limits) == 1 else "end their columns"
        said.append(f"{' and '.join(limits)} {ends}, as if values were cut off there.")
    columns = list(dict.fromkeys(pole.feature for pole in found if not pole.row))
    if not columns:
        said.append(f'Check row {found[0].row}, or use prior="default".')
    elif len(columns) < n_features:
        said.append(f'Use prior="default", or fit without {" and ".join(columns)}.')
    else:
        said.append('Use prior="default".')
    return " ".join(said)

"""What `fit`, `select`, the report and the command line say about the data behind an estimate.

Rows that decide a component alone come first, then places where starts of EM collapsed; a value
that is both is said once, with the starts.
"""

import xarray as xr

from bayes_gmm.errors import CollapseWarning, OutlierWarning
from bayes_gmm.results import deciding_rows, poles
from bayes_gmm.results.pole_words import sentence, told


def search_warnings(search: xr.Dataset, n_rows: float, n_features: int) -> list[UserWarning]:
    """Read the warnings off what a result keeps of the search for its optimum."""
    if "pole" not in search.sizes:
        return []
    at = told(poles.of_arrays(search), search.sizes["start"])
    places = {(pole.feature, pole.value) for pole in at if not pole.row}
    rows = [
        one for one in deciding_rows.of_arrays(search) if (one.feature, one.value) not in places
    ]
    collapsed = sentence(search, n_rows, n_features)
    return [
        *(
            OutlierWarning(" ".join(deciding_rows.stated(group)))
            for group in deciding_rows.by_component(rows)
        ),
        *([CollapseWarning(collapsed)] if collapsed else []),
    ]

"""What a reader of a point estimate should know of optima that were set aside, and of components.

The chosen optimum is expected to predict best, or under a proper prior holds most of the posterior
among those with as many components in use. Another may be higher, and one that uses fewer
components may hold more of the posterior.
"""

import numpy as np
import xarray as xr

from bayes_gmm.results.tables import counted, some

MATTERS = 0.05  # nats; less is how closely optima are approached


def how_found(search: xr.Dataset) -> str:
    """Say how many starts led to the optimum."""
    starts, reached = counted(search.sizes["start"], "start"), int(search["optimum_starts"][0])
    if reached:
        return f"{reached} of {starts} followed to the optimum"
    return f"optimum found by moving components of another one, which {starts} led to"


def remarks(search: xr.Dataset) -> list[str]:
    """Sentences about the search for a point estimate; none where all agree."""
    if "component_spurious" not in search:
        return []  # a result of an older version
    said = []
    height, mass = (search[f"optimum_{name}"].to_numpy() for name in ("objective", "log_mass"))
    higher = float(height.max() - height[0])
    if higher > MATTERS:
        said.append(
            f"An optimum that is higher by {higher:.1f} nats was set aside, because it is expected "
            f"to {'predict new rows worse' if np.isnan(mass[0]) else 'hold less of the posterior'}."
        )
    more = float(np.nanmax(mass) - mass[0]) if np.isfinite(mass).any() else 0.0
    if more > MATTERS:
        said.append(
            f"A mode that uses fewer components holds more posterior mass, by {more:.1f} "
            "nats: fit one component fewer too, and compare."
        )
    few = np.flatnonzero(search["component_spurious"].to_numpy())
    if few.size:
        which = some(few, "component_spurious in the result")
        plural = "s" if few.size > 1 else ""
        said.append(
            f"Component{plural} {which} rest{'' if plural else 's'} on too few rows for a "
            "covariance of its own: fit fewer components, or a structure with fewer parameters."
        )
    return said

"""A reader hears of an optimum that was set aside, and of a component on too few rows."""

import numpy as np
import pytest
import xarray as xr

from bayes_gmm.results.remarks import remarks


def search(height, mass, few):
    return xr.Dataset(
        {
            "optimum_objective": ("optimum", np.array(height)),
            "optimum_log_mass": ("optimum", np.array(mass)),
            "component_spurious": ("cluster", np.array(few)),
        }
    )


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (search([-5.0, -9.0], [-7.0, -8.0], [False, False]), []),
        (search([-5.0, -9.0], [np.nan, np.nan], [False, False]), []),
        (search([-5.0, -2.5], [np.nan, np.nan], [False, False]), ["higher by 2.5 nats"]),
        (search([-5.0, -9.0], [-7.0, -3.0], [False, False]), ["more posterior mass, by 4.0 nats"]),
        (search([-5.0], [-7.0], [False, True]), ["Component 1 has too few rows"]),
        (search([-5.0], [-7.0], [True, True]), ["Components 0, 1 have too few rows"]),
    ],
)
def test_what_differs_from_the_choice_is_said_with_its_size(found, said):
    remarked = remarks(found)
    assert len(remarked) == len(said)
    assert all(part in sentence for part, sentence in zip(said, remarked, strict=True))

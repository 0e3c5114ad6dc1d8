"""Types of seeds."""

from typing import TYPE_CHECKING, Any

from bayes_gmm.errors import InputError

if TYPE_CHECKING:
    import numpy as np

type Seed = int | np.random.SeedSequence | np.random.Generator | None


def as_seed(seed: Any) -> int | None:
    """Turn a seed into a whole number, which a result can keep; None stays None."""
    import numpy as np

    if seed is None:
        return None
    if isinstance(seed, np.random.SeedSequence):
        return int(seed.generate_state(1, np.uint64)[0] >> 1)
    if isinstance(seed, np.random.Generator):
        return int(seed.integers(2**63))
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
        raise InputError(
            f"seed must be a whole number >= 0, a SeedSequence, a Generator or None; got {seed!r}"
        )
    return int(seed)

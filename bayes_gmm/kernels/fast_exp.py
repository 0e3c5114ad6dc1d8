r"""exp for a whole buffer at once: numba's own is called a number at a time, this one vectorizes.

With t log2(e) = n + f, |f| <= 1/2, exp(t) = 2^n exp(f log 2). A polynomial gives the second factor
to the last bits, and 2^n goes in by adding n to the exponent field through an integer view.
"""

import math

import numpy as np
from numba import types
from numpy.polynomial import chebyshev

from bayes_gmm.kernels.kernel import kernel
from bayes_gmm.kernels.signatures import OUT_VECTOR

LOG2_E = 1.4426950408889634
LN2_HIGH = 6.93147180369123816490e-01  # log 2 in two pieces, so that t - n log 2 is exact
LN2_LOW = 1.90821492927058770002e-10
# Adding 1.5 * 2^52 leaves the nearest integer in the low bits of the sum.
ROUND_TO_INTEGER = 6755399441055744.0
# exp(-700) is 1e-304, still a normal number, and nothing beside a term of size one.
SMALLEST = -700.0
H = math.log(2) / 2
# u^13 / 13! is, on |u| <= H, a polynomial of lower degree up to T_13(u / H) / 4096 times its size,
# less than 1e-19 (Chebyshev's economization). Left out, it would be 0.8 units in the last place.
T13 = chebyshev.cheb2poly([0] * 13 + [1])
C2, C3, C4, C5, C6, C7, C8, C9, C10, C11, C12 = (
    float(1 / math.factorial(i) - T13[i] / T13[13] * H ** (13 - i) / math.factorial(13))
    for i in range(2, 13)
)


# "contract" allows fused multiply-adds but no reordering, which would undo the rounding trick.
@kernel(types.void(OUT_VECTOR, OUT_VECTOR), fastmath={"contract"})
def exp_in_place(t, scratch):  # pragma: no cover - compiled
    """Replace t (n,), all <= 0, by exp(t); scratch (n,) is overwritten."""
    bits = t.view(np.int64)
    shifts = scratch.view(np.int64)
    for i in range(t.size):
        clipped = max(t[i], SMALLEST)
        rounded = clipped * LOG2_E + ROUND_TO_INTEGER
        scratch[i] = rounded
        n = rounded - ROUND_TO_INTEGER
        u = (clipped - n * LN2_HIGH) - n * LN2_LOW
        p = C10 + u * (C11 + u * C12)
        p = C7 + u * (C8 + u * (C9 + u * p))
        p = C4 + u * (C5 + u * (C6 + u * p))
        t[i] = 1.0 + u * (1.0 + u * (0.5 + u * (C3 + u * p)))
    for i in range(t.size):
        bits[i] += shifts[i] << 52

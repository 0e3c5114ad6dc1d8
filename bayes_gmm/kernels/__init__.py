"""One pass over the rows, from K log-quadratic functions to sufficient statistics."""

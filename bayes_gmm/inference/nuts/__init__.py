"""NUTS on a gradient written by hand."""

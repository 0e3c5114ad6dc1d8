"""NUTS with a hand-written gradient."""

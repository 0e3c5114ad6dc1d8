"""The public functions: each checks its arguments, calls the layers below, and labels results."""

"""Everything that is computed from draws: arrays in, arrays out."""

"""``make bench``: speed as an operator meets it, as ratios to the origin read directly in the same run."""

"""Peak memory of a step, and what is kept for the backward pass."""

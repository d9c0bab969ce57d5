"""A language model timed layer by layer."""

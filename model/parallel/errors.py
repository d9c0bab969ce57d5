"""What the ranks of a run disagree on, or cannot do, said in one line."""


class ParallelError(RuntimeError):
    """The ranks cannot train together: what is wrong, and what to do."""

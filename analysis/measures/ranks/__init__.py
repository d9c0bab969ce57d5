"""The ranks of a run beside one another: what they waited for whom, and where the last was."""

"""A report of some steps, small enough to send."""

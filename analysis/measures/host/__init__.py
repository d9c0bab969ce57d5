"""What the host did while a GPU was idle."""

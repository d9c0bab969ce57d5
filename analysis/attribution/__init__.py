"""Which range a piece of device work belongs to, and what of a report counts."""

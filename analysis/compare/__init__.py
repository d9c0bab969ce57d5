"""Two reports: what got faster and what got slower."""

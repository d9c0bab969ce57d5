"""Number formats compared: times, and what each component runs in."""

"""A page for a browser: what happened and what was answered, packed into one file."""

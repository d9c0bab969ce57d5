"""Report files: opening them, and reading their columns."""

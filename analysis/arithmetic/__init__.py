"""Arithmetic on intervals and samples: no file, no report."""

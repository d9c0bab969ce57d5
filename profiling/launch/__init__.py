"""Record a run of a workload or of a script, and make its report."""

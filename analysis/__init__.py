"""Where the time went: questions to a Nsight Systems report."""

"""What work costs, in FLOPs and bytes, and the least time it could take."""

"""The benchmark over every combination of sizes, batches, contexts and ways to run."""

"""What was recorded, as tables in memory: device work, host calls, ranges, operators."""

"""What the commands share: options, settings, the machine, timing, results."""

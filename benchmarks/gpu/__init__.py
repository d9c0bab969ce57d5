"""What must be true on a GPU: run there, carried home, judged."""

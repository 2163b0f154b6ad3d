"""Unix processes: how they are started, watched, traced and ended."""

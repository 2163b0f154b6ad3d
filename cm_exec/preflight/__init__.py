"""`cm-exec check`: looks for what would keep a worker from running."""

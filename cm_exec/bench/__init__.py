"""`cm-exec bench`: measures functions in each mode on a local runtime."""

"""Poll, run, report, drain. Only `main` knows the real handlers and the real runtime."""

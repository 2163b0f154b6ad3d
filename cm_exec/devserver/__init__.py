"""What is behind `cm-exec dev`: the worker of a local runtime, and what the terminal shows of both."""

"""What is behind `cm-exec conform`: the protocol and its faults, played against a worker of any kind."""

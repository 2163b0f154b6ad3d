"""The runtime's two ports: one for workers, as the platform has it, and one for callers and the console."""

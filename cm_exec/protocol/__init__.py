"""The compute module protocol as values: nothing here reads, waits or sends."""

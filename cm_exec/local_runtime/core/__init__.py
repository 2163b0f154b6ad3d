"""The runtime's books as values: nothing here reads, waits or sends."""

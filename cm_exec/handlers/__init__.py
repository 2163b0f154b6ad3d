"""How a command is run: one module a mode, pure state machines beside them."""

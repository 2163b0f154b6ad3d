"""How a function's command is run, one module a mode behind one interface."""

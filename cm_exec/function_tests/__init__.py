"""`cm-exec test`: runs the tests of cm.toml."""

"""Import functions that are already described in another form than cm.toml."""

"""Functions that somebody has described already, in another form than cm.toml."""

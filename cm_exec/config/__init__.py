"""cm.toml, read once into frozen typed values."""

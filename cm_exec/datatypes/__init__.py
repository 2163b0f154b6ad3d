"""The platform's data types: as values, as text in cm.toml, as the protocol's JSON, and as checks of JSON values."""

"""Any executable as a Palantir Foundry compute module."""

__version__ = "0.1.0"

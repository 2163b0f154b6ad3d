"""The error that ends a build."""


class BundleError(Exception):
    """Raised when the bundle cannot be built; the message says why and what to do."""

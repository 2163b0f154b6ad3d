"""What ends a build."""


class BundleError(Exception):
    """The bundle cannot be built; the message says why and what to do."""

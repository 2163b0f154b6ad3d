"""A runtime that hands out jobs as fast as possible, in a separate process, so that it does not limit the workers."""

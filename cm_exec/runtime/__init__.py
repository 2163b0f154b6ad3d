"""The HTTPS client of the compute module runtime, and nothing else that knows urllib3."""

"""`make demo`: the whole story on one machine."""

"""Measure cm-exec, the official SDKs and bare floors in one run, on one machine, against one runtime."""

"""cm-exec beside the official SDKs and two floors: one run, one machine, one runtime."""

"""`cm-exec init`: writes a new project."""

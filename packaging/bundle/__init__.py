"""The self-contained cm-exec: a Python, its libraries, its own libc and loader, and cm-exec in one folder."""

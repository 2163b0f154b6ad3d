"""What is generated from the code and committed: pages of the documentation, man pages, completions, a JSON Schema."""

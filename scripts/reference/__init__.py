"""Files that are generated from the code and committed: reference pages, man pages, completions, the JSON Schema."""

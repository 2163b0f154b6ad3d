"""The generated files and their content."""

from pathlib import Path
from typing import Final

from cm_exec.config.schema.json_schema import cm_toml_schema_text
from scripts.reference import cm_toml, commands, completions, man
from scripts.reference.command_line import read_program
from scripts.reference.markdown import with_blocks

ROOT: Final = Path(__file__).resolve().parents[2]
DOCS: Final = ROOT / "docs"
SHARE: Final = ROOT / "share"


def generated_files() -> dict[Path, str]:
    """Return the content of each file by its path. Pages keep the text around the generated blocks."""
    program = read_program()
    return {
        ROOT / "cm_exec" / "config" / "schema" / "cm-toml.schema.json": cm_toml_schema_text(),
        DOCS / "cm-toml.md": with_blocks(DOCS / "cm-toml.md", cm_toml.blocks()),
        DOCS / "commands.md": with_blocks(DOCS / "commands.md", commands.blocks(program)),
        **{SHARE / "man" / place: text for place, text in man.pages(program).items()},
        **{SHARE / place: text for place, text in completions.scripts().items()},
    }

"""The site of the documentation: `make docs`.

Why Sphinx: it has been kept by many for long, fails where a link or an anchor leads nowhere, and with MyST reads the
same Markdown that GitHub shows. mkdocs-material is in maintenance. zensical, its successor, checks links as well, and
is at version 0.1.
"""

from sphinx.application import Sphinx

NAVIGATION = {
    "Start": ["quickstart", "deploying", "migrating"],
    "Use": [
        *("handlers", "services", "types", "testing", "local-runtime", "testing-any-worker", "conformance"),
        "troubleshooting",
    ],
    "Look up": ["cm-toml", "commands", "glossary"],
    "Understand": ["how-it-works", "security", "performance"],
}

project = "cm-exec"
html_title = "cm-exec"
extensions = ["myst_parser"]
myst_heading_anchors = 4  # as GitHub makes them
html_theme = "furo"
smartquotes = False  # two hyphens before an option stay two
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_copyright = False
html_show_sphinx = False


def add_navigation(_app: Sphinx, page: str, source: list[str]) -> None:
    """Add the menu of the site. It is not on the page, because GitHub would show a toctree as code."""
    if page == "index":
        trees = (f":hidden:\n:caption: {title}\n\n" + "\n".join(pages) for title, pages in NAVIGATION.items())
        source[0] += "".join(f"\n```{{toctree}}\n{tree}\n```\n" for tree in trees)


def setup(app: Sphinx) -> dict[str, bool]:
    """Connect the menu; Sphinx calls it."""
    app.connect("source-read", add_navigation)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

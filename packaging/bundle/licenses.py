"""The licence texts of all components."""

import shutil
from collections.abc import Iterable

from bundle.components import Component
from bundle.layout import Layout


def write_licenses(components: Iterable[Component], layout: Layout) -> None:
    """Copy the licence texts, unchanged, into one folder per component."""
    for component in components:
        folder = layout.licenses / component.name
        folder.mkdir(parents=True)
        for name, text in component.licenses.items():
            shutil.copyfile(text, folder / name)

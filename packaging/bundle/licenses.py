"""The licences of all that is in the bundle."""

import shutil
from collections.abc import Iterable

from bundle.components import Component
from bundle.layout import Layout


def write_licenses(components: Iterable[Component], layout: Layout) -> None:
    """A folder a component, with the texts as they came."""
    for component in components:
        folder = layout.licenses / component.name
        folder.mkdir(parents=True)
        for name, text in component.licenses.items():
            shutil.copyfile(text, folder / name)

"""The bill of materials: scanners that ask dpkg or pip find nothing in the bundle."""

import json
import uuid
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from cyclonedx.factory.license import LicenseFactory
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component as Entry
from cyclonedx.model.component import ComponentType
from cyclonedx.model.component_evidence import ComponentEvidence, Occurrence
from cyclonedx.model.license import DisjunctiveLicense, License
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL

from bundle.components import Component, Kind
from bundle.layout import Layout

_BY: Final = {Kind.LAUNCHER: (Kind.PYTHON, Kind.PACKAGE), Kind.PYTHON: (Kind.LIBRARY,)}
"""The kinds that each kind depends on."""


def write_sbom(components: Sequence[Component], layout: Layout, epoch: int) -> None:
    """Write CycloneDX JSON with the time `epoch`, in seconds since 1970. cm-exec comes first in `components`."""
    bom = Bom(serial_number=_serial_number(components))
    bom.metadata.timestamp = datetime.fromtimestamp(epoch, UTC)
    entries = {component: _entry(component, layout) for component in components}
    launcher, *others = entries.values()
    bom.metadata.component = launcher
    bom.components.update(others)
    for component, entry in entries.items():
        needed = (other for other in components if other.kind in _BY.get(component.kind, ()))
        bom.register_dependency(entry, [entries[other] for other in needed])
    document = _sorted(json.loads(JsonV1Dot6(bom).output_as_string()))
    layout.sbom.write_text(json.dumps(document, indent=2) + "\n")


def _sorted(value: Any) -> Any:
    """Sort the members of all arrays and objects: the library keeps some arrays as sets."""
    if isinstance(value, dict):
        return {name: _sorted(member) for name, member in sorted(value.items())}
    if isinstance(value, list):
        return sorted(map(_sorted, value), key=json.dumps)
    return value


def _serial_number(components: Iterable[Component]) -> uuid.UUID:
    """Derive the serial number from the content, so that equal bundles have equal ones."""
    content = "\n".join(f"{component.purl} {' '.join(component.places)}" for component in components)
    return uuid.uuid5(uuid.NAMESPACE_URL, content)


def _entry(component: Component, layout: Layout) -> Entry:
    places = [Occurrence(location=layout.at_home(place)) for place in component.places]
    return Entry(
        type=ComponentType.APPLICATION if component.kind is Kind.LAUNCHER else ComponentType.LIBRARY,
        name=component.name,
        version=component.version,
        purl=PackageURL.from_string(component.purl),
        cpe=component.cpe or None,
        bom_ref=component.purl,
        licenses=[_license(component, layout)],
        evidence=ComponentEvidence(occurrences=places),
    )


def _license(component: Component, layout: Layout) -> License:
    if component.license_expression:
        return LicenseFactory().make_from_string(component.license_expression)
    texts = layout.relative(layout.licenses / component.name)
    return DisjunctiveLicense(name=f"see {layout.at_home(texts)}")

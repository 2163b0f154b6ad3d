"""Every link within the repository leads somewhere."""

from pathlib import Path

import pytest

from tests.support.documents import PAGES, anchors, links, shown


@pytest.mark.parametrize("page", PAGES, ids=shown)
def test_relative_links(page: Path) -> None:
    """Every relative link leads to a file, and every anchor to a heading."""
    wrong = [link for link in links(page) if not _leads_somewhere(page, link)]
    assert not wrong


def _leads_somewhere(page: Path, link: str) -> bool:
    if link.startswith(("https://", "http://", "mailto:")):
        return True
    path, _, anchor = link.partition("#")
    target = page.parent / path if path else page
    return target.exists() and (not anchor or anchor in anchors(target))


def test_number_of_links() -> None:
    """The pages have links, so the test above checks something."""
    assert sum(len(links(page)) for page in PAGES) > 50

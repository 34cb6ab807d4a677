"""The index of decisions lists every one of them, by number."""

import re

from tests.architecture.sources import ROOT

FOLDER = ROOT / "docs" / "adr"


def test_the_index_lists_every_decision_in_order() -> None:
    index = (FOLDER / "README.md").read_text(encoding="utf-8")

    listed = re.findall(r"\]\((\d{4}-[a-z0-9-]+\.md)\)", index)

    assert listed == sorted(path.name for path in FOLDER.glob("[0-9]*.md"))

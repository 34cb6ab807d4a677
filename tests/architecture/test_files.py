"""One concept a file, and a name that says which."""

import ast

from tests.architecture.sources import PACKAGE, ROOT, modules

LINES = 400
SAYS_NOTHING = {
    "base",
    "common",
    "data",
    "helper",
    "helpers",
    "info",
    "manager",
    "misc",
    "util",
    "utils",
}


def test_no_source_file_is_longer_than_400_lines() -> None:
    sources = [*modules(), *sorted((ROOT / "sql").rglob("*.sql"))]
    lengths = {
        str(source.relative_to(ROOT)): len(source.read_text(encoding="utf-8").splitlines())
        for source in sources
    }

    assert {name: lines for name, lines in lengths.items() if lines > LINES} == {}


def test_no_file_has_a_name_that_says_nothing() -> None:
    named = [*modules(), *modules(ROOT / "tests"), *modules(ROOT / "bench")]

    assert [str(file.relative_to(ROOT)) for file in named if file.stem in SAYS_NOTHING] == []


def test_every_module_says_what_it_is() -> None:
    texts = {file: file.read_text(encoding="utf-8").strip() for file in modules(PACKAGE)}
    silent = [
        str(file.relative_to(ROOT))
        for file, text in texts.items()
        if text and ast.get_docstring(ast.parse(text)) is None
    ]

    assert silent == []

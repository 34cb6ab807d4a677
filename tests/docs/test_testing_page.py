"""The page about testing is a project whose tests pass."""

from pathlib import Path

from tests.docs.code_blocks import blocks
from tests.testing.a_project import PROJECT, run_tests


def test_its_tests_pass_in_memory_and_on_postgres(tmp_path: Path, server_dsn: str) -> None:
    shop, *tests = [it.text for it in blocks("docs/testing.md", "python")]
    (tmp_path / "pyproject.toml").write_text(PROJECT)
    (tmp_path / "shop.py").write_text(shop)

    said = run_tests(tmp_path, "\n".join(tests), FLOWSTONE_TEST_DSN=server_dsn)

    assert "14 passed" in said


def test_a_failure_looks_as_it_says(tmp_path: Path) -> None:
    shop, *tests = [it.text for it in blocks("docs/testing.md", "python")]
    (shown,) = [it.text for it in blocks("docs/testing.md", "text")]
    (tmp_path / "pyproject.toml").write_text(PROJECT)
    (tmp_path / "shop.py").write_text(shop)
    failing = """
async def test_it_fails(opened):
    await buy(opened, "ann@example.org")
    await assert_enqueued(opened, send_mail.with_("bob@example.org"))
"""

    said = run_tests(tmp_path, "\n".join([*tests, failing]), "-k", "test_it_fails", fails=True)

    lines = [line.removeprefix("E").strip() for line in said.splitlines()]
    assert [line for line in shown.splitlines() if line.strip() not in lines] == []

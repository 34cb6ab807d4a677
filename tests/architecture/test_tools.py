"""The sources are typed, formatted and free of lint."""

import pytest

from tests.architecture.sources import tool


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "command",
    [
        pytest.param(["mypy"], id="mypy"),
        pytest.param(["ruff", "check", "."], id="ruff-check"),
        pytest.param(["ruff", "format", "--check", "."], id="ruff-format"),
    ],
)
def test_the_tool_has_nothing_to_say(command: list[str]) -> None:
    ended = tool(*command)

    assert ended.returncode == 0, ended.stdout + ended.stderr

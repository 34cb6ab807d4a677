"""The compose file starts a server, one migration and two workers, with commands that exist."""

import json
import re
from typing import Any

import pytest
import yaml

from tests.architecture.sources import ROOT, python

COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker" / "compose.yaml").read_text("utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if service["image"] == "flowstone"}


def test_two_workers_wait_for_the_migration_and_that_for_the_server() -> None:
    assert SERVICES["worker"]["deploy"]["replicas"] == 2
    assert SERVICES["worker"]["depends_on"] == {
        "migrate": {"condition": "service_completed_successfully"}
    }
    assert SERVICES["migrate"]["depends_on"] == {"postgres": {"condition": "service_healthy"}}
    assert SERVICES["migrate"]["restart"] == "no"
    assert SERVICES["postgres"]["healthcheck"]["test"][1] == "pg_isready"


@pytest.mark.parametrize("service", OURS)
def test_the_service_runs_a_command_that_exists(service: str) -> None:
    python("-m", "flowstone", *OURS[service]["command"], "--help")


@pytest.mark.parametrize("service", OURS)
def test_the_service_is_configured_by_variables_that_the_program_reads(service: str) -> None:
    sources = [path.read_text("utf-8") for path in (ROOT / "flowstone").rglob("*.py")]

    for variable in OURS[service]["environment"]:
        assert any(variable in source for source in sources), variable


def test_the_image_runs_the_command_line_as_nobody_special() -> None:
    dockerfile = (ROOT / "docker" / "Dockerfile").read_text("utf-8")
    final = dockerfile.rpartition("\nFROM ")[2]

    assert re.search(r"^USER (?!root)\w+$", final, re.MULTILINE)
    assert json.loads(re.findall(r"^ENTRYPOINT (.*)$", final, re.MULTILINE)[-1]) == ["flowstone"]


def test_the_image_is_given_all_that_the_wheel_is_built_from() -> None:
    ignore = (ROOT / "docker" / "Dockerfile.dockerignore").read_text("utf-8").splitlines()
    given = {line[1:] for line in ignore if line.startswith("!")}

    assert given >= {
        "LICENSE",
        "README.md",
        "flowstone",
        "pyproject.toml",
        "requirements.txt",
        "sql",
    }

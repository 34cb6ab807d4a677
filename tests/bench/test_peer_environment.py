"""Which interpreter a peer gets, and what is said when there is none."""

import sys
from pathlib import Path

import pytest

from bench import peer_environment
from bench.peer_environment import ensure_node_environment, ensure_peer_environment, find_python
from bench.trial import TrialError

OURS = sys.version_info[:2]


@pytest.fixture(autouse=True)
def bare_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Hide what this machine has, and keep what is installed apart."""
    path = tmp_path / "bin"
    path.mkdir()
    monkeypatch.setenv("PATH", str(path))
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path / "pyenv"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


def make_program(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def test_a_peer_that_runs_with_our_python_gets_it() -> None:
    assert find_python((3, 11)) == (Path(sys.executable), OURS)


def test_a_newer_python_is_found_on_the_path(bare_machine: Path) -> None:
    newer = make_program(bare_machine / "bin" / "python3.19", "echo 3 19")

    assert find_python((3, 18)) == (newer, (3, 19))


def test_a_program_that_does_not_run_is_passed_over_for_one_that_does(bare_machine: Path) -> None:
    make_program(bare_machine / "bin" / "python3.18", "exit 127")
    newer = make_program(bare_machine / "pyenv/versions/3.18.0/bin/python3", "echo 3 18")
    make_program(bare_machine / "pyenv/versions/3.9.1/bin/python3", "echo 3 9")

    assert find_python((3, 18)) == (newer, (3, 18))


def test_a_peer_whose_python_is_not_there_is_left_out_with_that_reason() -> None:
    with pytest.raises(TrialError, match=r"needs Python 3\.99 or later"):
        ensure_peer_environment("peer", ("peer",), (3, 99))


def test_a_peer_of_node_without_npm_is_left_out_with_that_reason() -> None:
    with pytest.raises(TrialError, match="no npm on the PATH"):
        ensure_node_environment("peer", ("peer",))


def test_what_npm_says_is_the_reason(bare_machine: Path) -> None:
    make_program(bare_machine / "bin" / "npm", "echo 'npm error 404 peer' >&2; exit 1")

    with pytest.raises(TrialError, match="does not install: npm error 404 peer"):
        ensure_node_environment("peer", ("peer",))


def test_what_is_installed_is_not_installed_again(bare_machine: Path) -> None:
    log = bare_machine / "log"
    make_program(bare_machine / "bin" / "npm", f'echo "$@" >> {log}')

    node = ensure_node_environment("peer", ("node@22", "peer"))
    ensure_node_environment("peer", ("node@22", "peer"))

    [line] = log.read_text().splitlines()
    assert line.endswith("node@22 peer")
    assert node == peer_environment.cache_folder() / "peer-node/node_modules/.bin/node"


def test_other_packages_are_a_new_installation(bare_machine: Path) -> None:
    log = bare_machine / "log"
    make_program(bare_machine / "bin" / "npm", f'echo "$@" >> {log}')

    ensure_node_environment("peer", ("peer@1",))
    ensure_node_environment("peer", ("peer@2",))

    assert len(log.read_text().splitlines()) == 2

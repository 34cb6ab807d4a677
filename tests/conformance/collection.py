"""Which tests answer which case: pytest itself collects them, and runs none."""

import json
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MARKER = "conformance"


def answers(folder: Path = ROOT / "tests") -> dict[int, list[str]]:
    """
    Return the ids of the collected tests by the number of the case they are marked with.

    Runs a pytest of its own over the folder, so that a narrowed run sees the same as a whole one.

    Raises:
        RuntimeError: A test module cannot be collected; the message is pytest's.
    """
    with tempfile.TemporaryDirectory() as place:
        found = Path(place, "answers.json")
        collect = ["--collect-only", "-qq", "-p", "no:cacheprovider"]
        report = ["-p", __name__, "--conformance-answers", str(found)]
        ended = subprocess.run(
            [sys.executable, "-m", "pytest", *collect, *report, str(folder)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        if ended.returncode != pytest.ExitCode.OK:
            raise RuntimeError(f"the tests cannot be collected\n{ended.stdout}{ended.stderr}")
        return {int(number): ids for number, ids in json.loads(found.read_text()).items()}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--conformance-answers", metavar="FILE", help="write {case: [test id]} here")


def pytest_collection_finish(session: pytest.Session) -> None:
    target = session.config.getoption("--conformance-answers")
    if target:
        Path(target).write_text(json.dumps(by_case(session.items)), encoding="utf-8")


def by_case(items: Iterable[pytest.Item]) -> dict[int, list[str]]:
    """
    Sort test ids by case number.

    A test whose every parameter set carries the number appears once, without its parameters.
    """
    parameter_sets: defaultdict[str, int] = defaultdict(int)
    marked: defaultdict[int, defaultdict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for item in items:
        function = item.nodeid.partition("[")[0]
        parameter_sets[function] += 1
        public = getattr(getattr(item, "function", None), "answers", ())
        for number in {*public, *(n for it in item.iter_markers(MARKER) for n in it.args)}:
            marked[number][function].append(item.nodeid)
    return {
        number: [
            test_id
            for function, ids in functions.items()
            for test_id in ([function] if len(ids) == parameter_sets[function] else ids)
        ]
        for number, functions in sorted(marked.items())
    }

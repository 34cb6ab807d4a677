"""
Break everything that can be broken for a while, and say what did not hold.

The seed decides the assets, the requests and the order of faults; what meets what is left to time.
Exit code 1: something was violated, or the throughput was not back in time.
"""

import argparse
import asyncio
import json
import logging
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.chaos.course import Course
from tests.chaos.report import passed, to_text


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--minutes", type=float, default=1.0, help="of faults (default: 1)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--quiet", action="store_true", help="do not print faults as they happen")
    parser.add_argument("--folder", type=Path, help="for logs; by default a new one in /tmp")
    given = parser.parse_args(arguments)
    folder = given.folder or Path(tempfile.mkdtemp(prefix=f"chaos-{given.seed}-"))
    folder.mkdir(parents=True, exist_ok=True)
    # What bodies and workers in this process say belongs with the others' logs.
    logging.basicConfig(
        filename=folder / "clients.log", level=logging.INFO, format="%(asctime)s %(message)s"
    )
    is_loud = not (given.json or given.quiet)
    course = Course(given.minutes * 60, given.seed, folder, is_loud=is_loud)
    report = asyncio.run(course.run())
    (folder / "report.json").write_text(json.dumps(report, indent=1), encoding="utf-8")
    print(json.dumps(report) if given.json else to_text(report))
    return 0 if passed(report) else 1


if __name__ == "__main__":
    sys.exit(main())

"""The report, for people."""

import json
from collections.abc import Mapping
from typing import Any


def passed(report: Mapping[str, Any]) -> bool:
    """Whether nothing was violated and the throughput came back in time."""
    return not report["violations"] and report["throughput"]["recovered_after"] is not None


def to_text(report: Mapping[str, Any]) -> str:
    rate = report["throughput"]
    back = rate["recovered_after"]
    lines = [
        f"seed {report['seed']}, {report['seconds']} s, logs in {report['folder']}",
        "faults: " + ", ".join(f"{count} {name}" for name, count in report["faults"].items()),
        f"{report['runs']} runs, {report['materializations']} materializations "
        + ", ".join(f"{count} {status}" for status, count in report["ended"].items()),
        f"{report['attempts']} attempts, of which {report['attempts_cut_short']} were cut short",
        f"{report['rescues']} rescues, {report['workers_given_up']} workers given up",
        f"{report['refused_settlements']} settlements refused",
        f"{report['client_errors']} errors at clients",
        f"throughput {rate['calm']:.1f}/s before, {rate['afterwards']:.1f}/s afterwards "
        f"({rate['slowest']:.1f}/s by the slowest worker), "
        + ("NOT BACK within 10 s" if back is None else f"back after {back:.2f} s")
        + f"; drained in {report['drained_in']} s",
    ]
    for violation in report["violations"]:
        lines.append(f"VIOLATED: {violation['claim']} ({violation['count']})")
        lines += [f"    {json.dumps(row)}" for row in violation["rows"]]
        lines += [f"    near: {fault}" for fault in violation["faults"]]
    if not report["violations"]:
        lines.append("everything holds")
    return "\n".join(lines)

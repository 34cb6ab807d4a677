"""What a run of a benchmark says: medians, ratios of ours to the peers', a table, a document."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

from bench.runner import OURS, Outcome
from bench.server import JsonScalar

Document = dict[str, object]


@dataclass(frozen=True, slots=True)
class Ratio:
    """Ours over a peer's in the same round, as `metric/peer` unless it has a label."""

    metric: str
    peer: str
    peer_metric: str
    label: str = ""

    @property
    def name(self) -> str:
        return self.label or f"{self.metric}/{self.peer}"


@dataclass(frozen=True, slots=True)
class Figure:
    """The median of one metric of one system over all rounds, with the extremes."""

    system: str
    metric: str
    value: float
    unit: str
    lowest: float
    highest: float


@dataclass(frozen=True, slots=True)
class Results:
    """A finished run, ready to be printed or kept."""

    benchmark: str
    is_quick: bool
    rounds: int
    figures: tuple[Figure, ...]
    ratios: Mapping[str, float]
    outcome: Outcome
    machine: Mapping[str, JsonScalar]
    at: datetime


def summarize(
    benchmark: str,
    outcome: Outcome,
    ratios: Iterable[Ratio],
    machine: Mapping[str, JsonScalar],
    *,
    is_quick: bool,
    rounds: int,
) -> Results:
    """
    Take medians over the rounds, of the figures and of the ratios.

    A ratio compares within each round, minutes apart at most: what slows the machine down for a
    while slows both down.
    """
    systems = list(dict.fromkeys(system for system, _ in outcome.samples))
    figures = tuple(
        Figure(
            system, metric, median(values), outcome.units[system, metric], min(values), max(values)
        )
        for (system, metric), values in sorted(
            outcome.samples.items(), key=lambda item: systems.index(item[0][0])
        )
    )
    known = {}
    for ratio in ratios:
        ours = outcome.samples.get((OURS, ratio.metric))
        theirs = outcome.samples.get((ratio.peer, ratio.peer_metric))
        if ours and theirs:
            by_round = [mine / other for mine, other in zip(ours, theirs, strict=True)]
            known[ratio.name] = median(by_round)
    return Results(benchmark, is_quick, rounds, figures, known, outcome, machine, datetime.now(UTC))


def to_document(results: Results) -> Document:
    """Build the JSON object of a run; `results` and `ratios` are its stable part."""
    outcome = results.outcome
    return {
        "benchmark": results.benchmark,
        "at": results.at.isoformat(timespec="seconds"),
        "quick": results.is_quick,
        "rounds": results.rounds,
        "results": [
            {
                "system": figure.system,
                "metric": figure.metric,
                "value": _rounded(figure.value),
                "unit": figure.unit,
            }
            for figure in results.figures
        ],
        "ratios": {name: round(value, 2) for name, value in results.ratios.items()},
        "left_out": outcome.left_out,
        "systems": outcome.systems,
        "samples": {
            f"{system}/{metric}": [_rounded(value) for value in values]
            for (system, metric), values in outcome.samples.items()
        },
        "machine": dict(results.machine),
    }


def to_table(results: Results) -> str:
    """Draw the run for a terminal: figures, ratios, who was left out, the machine."""
    parts = [
        _columns(
            ("system", "metric", "median", "unit", "lowest", "highest"),
            [
                (
                    figure.system,
                    figure.metric,
                    _readable(figure.value),
                    figure.unit,
                    _readable(figure.lowest),
                    _readable(figure.highest),
                )
                for figure in results.figures
            ],
            right_aligned=(2, 4, 5),
        )
    ]
    if results.ratios:
        ratios = [(name, f"{value:,.2f}×") for name, value in results.ratios.items()]
        parts.append(_columns(("compared", "ratio"), ratios, right_aligned=(1,)))
    outcome = results.outcome
    parts += [
        "\n".join(
            f"{name} {facts['version']}: {facts['settings']}"
            for name, facts in outcome.systems.items()
        )
    ]
    if outcome.left_out:
        parts.append(
            "\n".join(f"left out: {name}: {why}" for name, why in outcome.left_out.items())
        )
    parts.append(", ".join(f"{name} {value}" for name, value in results.machine.items()))
    return "\n\n".join(parts)


def save(results: Results, folder: Path) -> Path:
    """Write the document to `folder` under the benchmark's name and the time; return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    size = "-quick" if results.is_quick else ""
    path = folder / f"{results.benchmark}{size}-{results.at:%Y%m%dT%H%M%SZ}.json"
    path.write_text(json.dumps(to_document(results), indent=2) + "\n")
    return path


def _columns(
    header: tuple[str, ...], rows: Sequence[tuple[str, ...]], right_aligned: tuple[int, ...]
) -> str:
    widths = [max(len(row[at]) for row in (header, *rows)) for at in range(len(header))]
    rule = tuple("─" * width for width in widths)
    return "\n".join(
        "  ".join(
            cell.rjust(width) if at in right_aligned else cell.ljust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in (header, rule, *rows)
    )


def _rounded(value: float) -> float:
    return round(value, 1) if value >= 100 else round(value, 3)


def _readable(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:,.2f}"

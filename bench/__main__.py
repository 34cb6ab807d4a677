"""Run a benchmark: ``python -m bench NAME [--quick] [--json] [--save]``."""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench import assets, gates, growth, jobs, scatter
from bench.report import Ratio, save, summarize, to_document, to_table
from bench.runner import Contestant, run_rounds
from bench.server import embedded_server, require_durable
from bench.trial import TrialError

RESULTS = Path(__file__).resolve().parent / "results"


@dataclass(frozen=True, slots=True)
class Benchmark:
    """Who takes part, small or whole, and what is compared with what."""

    contestants: Callable[[bool], tuple[Contestant, ...]]
    ratios: tuple[Ratio, ...]
    rounds: int = 3


BENCHMARKS = {
    "assets": Benchmark(lambda quick: assets.contestants(quick=quick), assets.RATIOS),
    "gates": Benchmark(lambda quick: gates.contestants(quick=quick), gates.RATIOS, rounds=1),
    # Each of its figures is a median over turns that alternate with their reference.
    "growth": Benchmark(lambda quick: growth.contestants(quick=quick), growth.RATIOS, rounds=1),
    "jobs": Benchmark(lambda quick: jobs.contestants(quick=quick), jobs.RATIOS),
    "scatter": Benchmark(lambda quick: scatter.contestants(quick=quick), scatter.RATIOS),
}


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line; an unknown benchmark or system ends with the known ones."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("name", choices=sorted(BENCHMARKS), help="what to measure")
    parser.add_argument("--quick", action="store_true", help="small numbers: does it run at all?")
    parser.add_argument("--json", action="store_true", help="print one JSON object, no table")
    parser.add_argument("--save", action="store_true", help="keep the object in bench/results/")
    parser.add_argument("--rounds", type=_positive, help="repeats (gates, growth: 1; others: 3)")
    parser.add_argument(
        "--only", action="append", metavar="SYSTEM", help="leave the other systems out; repeatable"
    )
    options = parser.parse_args(arguments)
    options.rounds = options.rounds or BENCHMARKS[options.name].rounds
    systems = {item.system for item in BENCHMARKS[options.name].contestants(options.quick)}
    unknown = set(options.only or ()) - systems
    if unknown:
        parser.error(
            f"--only: {', '.join(sorted(unknown))}: known are {', '.join(sorted(systems))}"
        )
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark that the command line names; 1 when it has no figures of ours to show."""
    options = parse_arguments(arguments)
    benchmark = BENCHMARKS[options.name]
    contestants = [
        item
        for item in benchmark.contestants(options.quick)
        if not options.only or item.system in options.only
    ]
    try:
        with embedded_server() as server:
            machine = server.facts()
            require_durable(machine)
            outcome = run_rounds(server, contestants, options.rounds, _narrate)
    except TrialError as error:
        _narrate(f"no result: {error}")
        return 1
    results = summarize(
        options.name,
        outcome,
        benchmark.ratios,
        machine,
        is_quick=options.quick,
        rounds=options.rounds,
    )
    print(json.dumps(to_document(results)) if options.json else to_table(results))
    if options.save:
        _narrate(f"kept in {save(results, RESULTS)}")
    return 0


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        message = "must be 1 or more"
        raise argparse.ArgumentTypeError(message)
    return number


def _narrate(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())

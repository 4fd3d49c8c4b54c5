"""Do the intervals cover what they say, and do the tests reject as seldom as they say? By simulation.

See benchmarks/README.md. Example:

    python benchmarks/interval_coverage.py --json coverage.json --markdown coverage.md
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from bench_page import add_numbers, add_outputs, save
from coverage_tables import markdown_page, text_tables
from coverage_trials import Settings, measure


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    default = Settings()
    parser = argparse.ArgumentParser(description="Coverage of the intervals and errors of the tests.")
    add_numbers(parser, default, ("simulations", "resamples", "seed"))
    add_outputs(parser)
    given = parser.parse_args(arguments)
    if given.simulations < 1 or given.resamples < 1:
        parser.error("simulations and resamples must be 1 or more")
    return given


def main(arguments: Sequence[str] | None = None) -> None:
    """Simulate, print the tables and write the files asked for."""
    given = parse(arguments)
    settings = Settings(simulations=given.simulations, resamples=given.resamples, seed=given.seed)
    result = measure(settings)
    print(text_tables(result))
    save(given, result, markdown_page(result))


if __name__ == "__main__":
    main()

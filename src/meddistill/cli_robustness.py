"""The command `meddistill robustness`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from meddistill.cli_print import print_comparisons, print_corruptions, print_curves


def robustness(
    runs: Annotated[list[Path], typer.Argument(help="Folders of finished runs; the first is the baseline.")],
    attack: Annotated[
        list[str] | None,
        typer.Option(help="fgsm, pgd, or both one after the other; both without a corruption."),
    ] = None,
    eps: Annotated[
        list[float] | None,
        typer.Option(
            help="Largest changes of a pixel in grey levels of 8-bit images, one after the other.  "
            "[default: 1 2 4 8]"
        ),
    ] = None,
    corruption: Annotated[
        list[str] | None,
        typer.Option(
            help="Corruptions: all, imagenet-c, ultrasound, mr, general, or names, one after the other.  "
            "[default: all with --severity, else none]"
        ),
    ] = None,
    severity: Annotated[
        list[int] | None,
        typer.Option(help="Severities of the corruptions, one after the other.  [default: 1 2 3 4 5]"),
    ] = None,
    jobs: Annotated[
        int | None,
        typer.Option(min=0, help="Processes that corrupt and score, 0 for none.  [default: one a core]"),
    ] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the scores.")] = Path("robustness"),
) -> None:
    """Score finished runs on test images that are attacked or corrupted, and compare the runs.

    What is asked for is done: attacks with --attack or --eps, corruptions with --corruption or --severity,
    both with both. With none of the four it is both attacks. A sweep that was interrupted goes on when the
    same command is given again.

    Example: `meddistill robustness runs/iid-s0 runs/pcd-s0 --attack fgsm pgd --eps 1 2 4 8 -o robustness`

    Example: `meddistill robustness runs/iid-s0 runs/pcd-s0 --corruption imagenet-c -o robustness`
    """
    from meddistill.training.robustness import disturbances_of
    from meddistill.training.robustness import robustness as measure
    from meddistill.training.sweep import Sweep

    corrupts, attacks = bool(corruption or severity), bool(attack or eps)
    chosen = Sweep(corruption or ["all"], severity or [1, 2, 3, 4, 5], jobs) if corrupts else None
    kinds = [] if corrupts and not attacks else attack or ["fgsm", "pgd"]
    found = measure(runs, disturbances_of(kinds, eps or [1, 2, 4, 8]), out, corruptions=chosen)
    swept = found.corruptions.kinds if found.corruptions is not None else ()
    print_curves(point for point in found.points if point["disturbance"] not in swept)
    print_comparisons(found.comparisons)
    if found.corruptions is not None:
        print_corruptions(found.corruptions)
        print(f"report: {out / 'report.html'}")
    print(f"scores: {out}")

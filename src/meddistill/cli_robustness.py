"""The command `meddistill robustness`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from meddistill.cli_print import print_comparisons, print_curves


def robustness(
    runs: Annotated[list[Path], typer.Argument(help="Folders of finished runs; the first is the baseline.")],
    attack: Annotated[
        list[str] | None, typer.Option(help="fgsm, pgd, or both one after the other.  [default: fgsm pgd]")
    ] = None,
    eps: Annotated[
        list[float] | None,
        typer.Option(
            help="Largest changes of a pixel in grey levels of 8-bit images, one after the other.  "
            "[default: 1 2 4 8]"
        ),
    ] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the scores.")] = Path("robustness"),
) -> None:
    """Attack finished runs: score each student on its test split under each attack, and compare the runs.

    Example: `meddistill robustness runs/iid-s0 runs/pcd-s0 --attack fgsm pgd --eps 1 2 4 8 -o robustness`
    """
    from meddistill.training.robustness import disturbances_of
    from meddistill.training.robustness import robustness as measure

    found = measure(runs, disturbances_of(attack or ["fgsm", "pgd"], eps or [1, 2, 4, 8]), out)
    print_curves(found.points)
    print_comparisons(found.comparisons)
    print(f"scores: {out}")

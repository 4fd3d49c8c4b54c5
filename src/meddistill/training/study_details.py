"""What the page of a study tells beyond its scores: ranks, subgroups, and where its rows disagree."""

from __future__ import annotations

from collections.abc import Sequence

from meddistill.evaluation import AnswerTable, Comparison
from meddistill.evaluation.case_scores import Tables, case_scores, has_cases
from meddistill.evaluation.disputes import disputes
from meddistill.evaluation.ranks import rank_rows
from meddistill.evaluation.subgroups import subgroups
from meddistill.report.details import Details
from meddistill.report.dispute_parts import DisputeParts, dispute_table, dispute_views
from meddistill.training.disputed_maps import disputed_maps
from meddistill.training.study import PlannedRun

_OF_CASES = {"dice": "dice_both_empty_1"}
"""Metrics that judge a case where the first one leaves it out: an image without a structure has no Dice."""


def study_details(runs: Sequence[PlannedRun], comparison: Comparison, tables: Tables, name: str) -> Details:
    """The findings about the rows of a comparison on the set `name`.

    Args:
        runs: of the study.
        comparison: of `tables`.
        tables: for each row the scores of its seeds.
        name: of the set that they were scored on.
    """
    known = [one for one in comparison.metrics if has_cases(one, tables)]
    if not known:
        return Details()
    ranked = [rank_rows(case_scores(tables, one), comparison.baseline) for one in known]
    judged = _OF_CASES.get(known[0], known[0])
    return Details(
        ranks=[found for found in ranked if found is not None],
        subgroups=subgroups(tables, case_scores(tables, judged)),
        subgroup_metric=judged,
        disputes=_disputes(runs, tables, known[0], name) if len(tables) > 1 else None,
    )


def _disputes(runs: Sequence[PlannedRun], tables: Tables, first: str, name: str) -> DisputeParts | None:
    """The cases in which rows disagree most: in the first metric, or in the Brier score of answers."""
    answers = {
        row: [table for table in seeds if isinstance(table, AnswerTable)] for row, seeds in tables.items()
    }
    of_images, rows = any(answers.values()), list(tables)
    metric = "brier" if of_images else first
    found = disputes(case_scores(tables, metric))
    if not found:
        return None
    if of_images:
        return DisputeParts(metric, dispute_table(found, rows, metric, answers))
    drawn = disputed_maps(runs, name, [one.case for one in found])
    views = dispute_views(found, rows, metric, drawn.maps, drawn.class_names)
    return DisputeParts(metric, dispute_table(found, rows, metric), views, drawn.note)

"""The command line: parse, call, print. Everything heavy is imported inside the command that needs it."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from meddistill.cli_data import data_app
from meddistill.cli_options import (
    TAKES_KEYS,
    BranchOption,
    CalibratedOption,
    CalibrateOption,
    FloorOption,
    MembersOption,
    OutOption,
    OverwriteOption,
    RecipeArgument,
    RowOption,
    RunArgument,
    SplitOption,
    StoresOption,
    TuneOption,
    UncertaintyOption,
    spelled_out,
)
from meddistill.cli_print import print_comparisons, print_summary, print_uncertainty, tell
from meddistill.cli_robustness import robustness
from meddistill.errors import DataError, MedDistillError

app = typer.Typer(
    name="meddistill",
    help="Knowledge distillation for medical imaging: from images, labels and a teacher to a small student.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
app.add_typer(data_app, name="data")


def main() -> None:
    """Run the command line and leave with its exit code."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run the command line with `arguments` and return its exit code; a user's mistake is one line and 2.

    Example:
        >>> run(["recipes", "no-such-recipe"])
        2
    """
    try:
        with warnings.catch_warnings():
            if not sys.warnoptions:  # hints of the libraries to programmers; `python -W default` shows them
                warnings.simplefilter("ignore")
            code = app(args=spelled_out(arguments), prog_name="meddistill", standalone_mode=False)
    except MedDistillError as error:
        return _refuse(str(error))
    except typer.TyperException as error:
        return _refuse(_usage(error))
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return code if isinstance(code, int) else 0


def _refuse(message: str) -> int:
    if message:
        print("error: " + " ".join(message.splitlines()), file=sys.stderr)
    return 2


def _usage(error: typer.TyperException) -> str:
    """What is wrong with the command as typed, and where to read on; empty where help was printed instead."""
    message = error.format_message()
    context = getattr(error, "ctx", None)
    return f"{message} (see `{context.command_path} --help`)" if message and context else message


def _overrides(context: typer.Context) -> dict[str, Any]:
    """The recipe's values among the arguments that typer left over, and those that have a short option."""
    from meddistill.config import parse_overrides

    flags = [option for parameter in context.command.params for option in parameter.opts]
    floor = context.params.get("teacher_floor")
    short = [] if floor is None else ["--teacher.floor", str(floor)]
    return parse_overrides([*context.args, *short], flags=flags)


def _version(wanted: bool) -> None:
    if wanted:
        from meddistill import __version__

        print(__version__)
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


@app.command(context_settings=TAKES_KEYS)
def train(
    context: typer.Context,
    recipe: RecipeArgument,
    out: OutOption,
    row: RowOption = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with an interrupted run.")] = False,
    stores: StoresOption = None,
    teacher_floor: FloorOption = None,  # noqa: ARG001 - read by `_overrides`
    auto_tune: TuneOption = None,
) -> None:
    """Train one student, score it on the test split and on further test sets, and write its report.

    Any key of the recipe can be overridden with --key value.

    Example: `meddistill train pcd-busi-small --row iid --data.source.root data/busi --seed 1 -o runs/iid-s1`
    """
    from meddistill.config import load_recipe

    checked = load_recipe(recipe, _overrides(context), row=row)
    from meddistill.report import write_report
    from meddistill.training.claim import is_first_process
    from meddistill.training.evaluate import evaluate as evaluate_run
    from meddistill.training.fit import fit

    run = fit(checked, out, resume=resume, stores=stores, auto_tune=auto_tune, say=partial(print, flush=True))
    if not is_first_process():
        return
    scored = run.scored_cases()
    for name in scored:
        print_summary(evaluate_run(run.root, split=name), name)
    if not scored:
        print("no test split and no tests: nothing was scored")
    print(f"report: {write_report(run)}")


@app.command(context_settings=TAKES_KEYS)
def annotate(
    context: typer.Context,
    recipe: RecipeArgument,
    out: OutOption,
    row: RowOption = None,
    split: Annotated[
        list[str] | None,
        typer.Option(
            help="Splits to annotate; repeat it for several.  [default: train; of a method that needs no "
            "labels also selection]"
        ),
    ] = None,
    shard: Annotated[str, typer.Option(help="Only part i of n, as i/n; all parts fill one store.")] = "1/1",
    masks: Annotated[
        Path | None,
        typer.Option(help="Also make a data folder here: images, masks, soft masks and what was left out."),
    ] = None,
    teacher_floor: FloorOption = None,  # noqa: ARG001 - read by `_overrides`
) -> None:
    """Run the recipe's teacher once per case and store its logits for trainings to come.

    Called again, it goes on where it stopped. Give the folder to a training with --teacher.store.

    Example: `meddistill annotate pcd-busi-small --row kd --teacher.path runs/iid-s0 -o stores/iid-s0`
    """
    from meddistill.config import load_recipe

    checked = load_recipe(recipe, _overrides(context), row=row)
    from meddistill.teachers.annotate import Shard
    from meddistill.training.annotation import annotate_recipe

    say = partial(print, flush=True)
    found = annotate_recipe(checked, out, splits=split or (), shard=Shard.parse(shard), masks=masks, say=say)
    if found.stored is None:
        print(f"{found.done}; other parts are missing")
    else:
        print(found.stored)
    print(f"teacher store: {out}")
    if found.exclusion is not None:
        print(f"{found.exclusion.summary()}\nmasks: {masks}")


@app.command()
def evaluate(
    run: RunArgument,
    split: SplitOption = "test",
    again: Annotated[
        bool, typer.Option("--again", help="Score again and replace the stored scores.")
    ] = False,
    calibrate: CalibrateOption = None,
    uncertainty: UncertaintyOption = None,
    members: MembersOption = None,
    passes: Annotated[int, typer.Option(min=2, help="How often mc_dropout draws.")] = 10,
    error_below: Annotated[
        float,
        typer.Option(min=0, max=1, help="Dice below which a case is an error to be found."),
    ] = 0.7,
) -> None:
    """Score a finished run on one split or further test set and rewrite its report.

    With --calibrate or --uncertainty also examine how honest the student's probabilities are and whether its
    uncertainty finds its errors, see docs/calibration.md; the weights stay as they are.

    Example: `meddistill evaluate runs/iid-s1 --calibrate temperature --uncertainty tta`
    """
    from meddistill.report import write_report
    from meddistill.training.evaluate import evaluate as evaluate_run

    question = None
    if calibrate or uncertainty or members:
        from meddistill.training.uncertainty import Question, assess

        question = Question(
            calibrate or "none", uncertainty or "entropy", tuple(members or ()), passes, error_below
        )
    print_summary(evaluate_run(run, split=split, again=again), split)
    if question is not None:
        print_uncertainty(assess(run, question, split=split))
    print(f"report: {write_report(run)}")


@app.command()
def compare(
    runs: Annotated[
        list[str],
        typer.Argument(
            help="Run folders; the first is the baseline. RUN:BRANCH is another branch of a student."
        ),
    ],
    split: Annotated[
        str | None,
        typer.Option(help="Split or test set to compare on.  [default: the first that all runs share]"),
    ] = None,
    margin: Annotated[
        float | None,
        typer.Option(
            help="Also say whether each row is not worse than the baseline by more than this in the first "
            "metric; 0.01 is one Dice point."
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            help="Also write the table: a file by its ending (.csv, .md, .tex), or all three into a folder.",
        ),
    ] = None,
    json: Annotated[Path | None, typer.Option(help="Also write everything found as JSON.")] = None,
) -> None:
    """Compare runs case by case: means with confidence intervals, paired tests with Holm correction.

    Runs named `ROW-sSEED` are averaged over their seeds.

    Example: `meddistill compare runs/iid-s0 runs/kd-s0 runs/pcd-s0`
    """
    from meddistill.files import write_json
    from meddistill.training.table_files import table_files, write_table
    from meddistill.training.tables import compare_folders

    files = [] if out is None else table_files(out)
    comparison = compare_folders(runs, split=split, margin=margin)
    print(comparison.to_markdown())
    if json is not None:
        write_json(json, comparison.to_dict())
    for file in files:
        write_table(comparison, file)
        print(f"table: {file}")


@app.command(context_settings=TAKES_KEYS)
def study(
    context: typer.Context,
    recipe: RecipeArgument,
    out: OutOption,
    jobs: Annotated[int, typer.Option(min=1, help="Trainings at a time.")] = 1,
    teacher_floor: FloorOption = None,  # noqa: ARG001 - read by `_overrides`
    auto_tune: TuneOption = None,
) -> None:
    """Train every row of a recipe's study with every seed, compare them and write one page.

    Called again, it goes on where it stopped. Any key can be overridden with --key value.

    Example: `meddistill study pcd-busi-small --data.source.root data/busi --jobs 2 -o runs/pcd-busi-small`
    """
    _study(recipe, out, _overrides(context), jobs, auto_tune)


def _study(
    recipe: str, out: Path, overrides: dict[str, Any], jobs: int, auto_tune: float | None = None
) -> Path:
    from meddistill.training.study import plan_study, run_study
    from meddistill.training.tables import write_study

    checked, runs = plan_study(recipe, out, overrides)
    print(f"{len(runs)} runs in {out}")
    run_study(runs, out, jobs=jobs, auto_tune=auto_tune)
    comparisons, page = write_study(checked, runs, out)
    print_comparisons(comparisons)
    print(f"report: {page}")
    return page


@app.command()
def demo(
    out: OutOption = Path("runs/demo"),
    jobs: Annotated[int, typer.Option(min=1, help="Trainings at a time.")] = 1,
) -> None:
    """Run the whole way on built-in images: teacher, calibration, KD and P-CD students, comparison, report.

    Example: `meddistill demo -o runs/demo`
    """
    page = _study("phantom-demo", out, {}, jobs)
    print(f"Open {page.resolve()} in a browser.")


@app.command()
def predict(
    run: RunArgument,
    folder: Annotated[Path, typer.Argument(help="Images or volumes, searched recursively.")],
    out: OutOption,
    overwrite: OverwriteOption = False,
    device: Annotated[str, typer.Option(help="Where to compute: cpu, cuda, cuda:1, mps.")] = "cpu",
    branch: BranchOption = None,
    calibrated: CalibratedOption = False,
    uncertainty: Annotated[
        bool, typer.Option("--uncertainty", help="Also write how uncertain the student is of each image.")
    ] = False,
) -> None:
    """Write a mask, at the original size, for every image or volume of a folder.

    A student that answers once per image writes one CSV of probabilities instead: OUT where that ends in
    .csv, else OUT/predictions.csv. --uncertainty adds a column there, and OUT/uncertainty.csv to masks.

    Example: `meddistill predict runs/pcd-s0 new-images -o masks --uncertainty`
    """
    from meddistill.deploy.predict import predict as predict_folder

    files = predict_folder(
        run,
        folder,
        out,
        overwrite=overwrite,
        device=device,
        branch=branch,
        calibrated=calibrated,
        uncertainty=uncertainty,
    )
    print(f"answers in {files[0]}" if files[0].suffix == ".csv" else f"{len(files)} masks in {out}")


@app.command()
def export(
    run: RunArgument,
    out: Annotated[Path, typer.Option("--out", "-o", help="File to write: .onnx, .pt2 or .pt.")],
    overwrite: OverwriteOption = False,
    branch: BranchOption = None,
    calibrated: CalibratedOption = False,
) -> None:
    """Write the student of a run as one program that needs no meddistill.

    The ending of OUT says which: .onnx, .pt2 (torch.export) or .pt (TorchScript). OUT.json says how to feed
    it and what its logits mean. The program is checked against the student before it is written.

    Example: `meddistill export runs/pcd-s0 -o student.onnx`
    """
    from meddistill.deploy.export import export as export_student

    found = export_student(run, out, branch=branch, calibrated=calibrated, overwrite=overwrite)
    print(f"{found.file}: logits within {found.difference:.1g} of the student's")
    print(f"how to feed it: {found.description}")


app.command()(robustness)


@app.command(context_settings=TAKES_KEYS)
def inspect(
    context: typer.Context,
    data: Annotated[str, typer.Argument(help="A folder of images or volumes, a CSV, an npz, or a recipe.")],
    json: Annotated[Path | None, typer.Option(help="Also write the findings as JSON.")] = None,
    train: Annotated[Path | None, typer.Option(help="JSON list of the training images.")] = None,
    selection: Annotated[Path | None, typer.Option(help="JSON list of the selection images.")] = None,
    test: Annotated[Path | None, typer.Option(help="JSON list of the test images.")] = None,
    sheet: Annotated[
        Path | None, typer.Option(help="Also draw a dozen cases with their labels into this PNG.")
    ] = None,
) -> None:
    """Look for what spoils a study: leaks, duplicates, empty, broken or contradictory files.

    Of a recipe with data.supervision also what its weak labels cover. Exit code 2 when there is a finding of
    level error.

    Example: `meddistill inspect data/busi --train splits/pcd_train.json --test splits/pcd_val.json`
    """
    from meddistill.data.inspect import render
    from meddistill.files import write_json
    from meddistill.training.inspection import inspect_data

    lists = {"train": train, "selection": selection, "test": test}
    files = {name: path for name, path in lists.items() if path}
    found = inspect_data(data, files=files, overrides=_overrides(context), sheet=sheet)
    print(render(found))
    if json is not None:
        write_json(json, found.to_json())
    if sheet is not None and found.can_be_read:
        print(f"sheet: {sheet}")
    if found.has_errors:
        errors = sum(finding.level == "error" for finding in found.findings)
        raise DataError(f"{errors} of the findings above are errors; mend the data before training on it")


@app.command(context_settings=TAKES_KEYS)
def bench(
    context: typer.Context,
    recipe: RecipeArgument,
    row: RowOption = None,
    steps: Annotated[int, typer.Option(min=2, help="Steps to time.")] = 30,
    json: Annotated[Path | None, typer.Option(help="Also write the numbers as JSON.")] = None,
) -> None:
    """Show where the time of a training step goes on this machine, and what to change.

    Any key of the recipe can be overridden with --key value.

    Example: `meddistill bench pcd-busi-small --row kd --data.source.root data/busi --teacher.path runs/iid`
    """
    from meddistill.config import load_recipe

    checked = load_recipe(recipe, _overrides(context), row=row)
    from meddistill.files import write_json
    from meddistill.training.bench import bench as measure
    from meddistill.training.bench_text import render

    found = measure(checked, steps=steps, say=tell("bench"))
    print(render(found))
    if json is not None:
        write_json(json, found.to_json())


@app.command()
def report(run: RunArgument) -> None:
    """Write the page of a run again.

    Example: `meddistill report runs/pcd-s0`
    """
    from meddistill.report import write_report

    print(f"report: {write_report(run)}")


@app.command()
def recipes(
    name: Annotated[str | None, typer.Argument(help="Print this recipe.")] = None,
) -> None:
    """List the shipped recipes, or print one.

    Example: `meddistill recipes pcd-busi-small > mine.yaml`
    """
    from meddistill.config.load import find_recipe, shipped_recipes

    if name is not None:
        print(find_recipe(name).read_text(encoding="utf-8"), end="")
        return
    for recipe, file in shipped_recipes().items():
        first = file.read_text(encoding="utf-8").splitlines()[0]
        print(f"{recipe:<20} {first.removeprefix('# ')}")

"""Who may write a run folder, and when: nothing is overwritten, half begun, or written by two at once."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from meddistill.config import Recipe
from meddistill.config.load import check_recipe, read_recipe_mapping
from meddistill.data.case import Case
from meddistill.errors import RunError
from meddistill.training.data import TaskData
from meddistill.training.run_folder import RunFolder, read_json


def is_first_process() -> bool:
    """Whether this process writes the folder: the first of all, however the launcher numbers them."""
    numbers = ("RANK", "SLURM_PROCID", "LOCAL_RANK", "GROUP_RANK", "NODE_RANK")
    return all(os.environ.get(number, "0") == "0" for number in numbers)


def already_done(folder: RunFolder, recipe: Recipe, *, resume: bool) -> bool:
    """True when the folder holds this very run, finished.

    Raises:
        RunError: the folder holds something else, or an unfinished run and `resume` is not given.
    """
    if not is_first_process() or not folder.root.exists():
        return False
    if not folder.root.is_dir():
        raise RunError(f"{folder.root} is a file; choose another run folder")
    if not any(folder.root.iterdir()):
        return False
    if not resume:
        raise RunError(
            f"run folder {folder.root} exists; give another with --out, or --resume to go on with it"
        )
    if not folder.config.exists():
        raise RunError(f"{folder.root} is not a run folder (no config.yaml); choose another with --out")
    check_same_recipe(folder, recipe)
    return folder.finished


def check_same_recipe(folder: RunFolder, recipe: Recipe) -> None:
    """Refuse to go on with, or to take for its own, a run that another recipe began.

    Raises:
        RunError: a key differs, the study aside.
    """
    before = check_recipe(read_recipe_mapping(str(folder.config))).model_dump(mode="json")
    now = recipe.model_dump(mode="json")
    changed = [key for key in now if before.get(key) != now[key] and key != "study"]
    if changed:
        raise RunError(
            f"{folder.root} was started with another recipe (different: {', '.join(changed)}); "
            "resume it with the same one, or give another folder with --out"
        )


def check_same_split(folder: RunFolder, data: TaskData) -> None:
    """Refuse data that are not divided as when the run began: training cases could be scored as test.

    Raises:
        RunError: a split has other cases now.
    """
    before = read_json(folder.environment)["split_cases"]
    for split, cases in data.split.cases.items():
        _check_same(f"the {split} split", folder, cases, before.get(split, []))


def check_same_test(folder: RunFolder, name: str, data: TaskData) -> None:
    """Refuse a further test set that is not the one that the run was begun with.

    Raises:
        RunError: it has other cases now.
    """
    before = read_json(folder.environment).get("tests", {}).get(name, {}).get("cases", [])
    _check_same(f"the test set {name}", folder, data.split.cases["test"], before)


def _check_same(what: str, folder: RunFolder, now: Iterable[Case], before: Iterable[str]) -> None:
    different = {case.id for case in now} ^ set(before)
    if different:
        raise RunError(
            f"{what} has changed since {folder.root} was begun ({len(different)} cases, first "
            f"{min(different)}); restore the data, or train again in a new folder"
        )


def check_writable(root: Path) -> None:
    """Refuse an output folder that cannot be made, before any work is done for it.

    Raises:
        RunError: nothing can be written where the folder would be.
    """
    parent = root
    while not parent.exists():
        parent = parent.parent
    try:  # the one sure way to know: rights, read-only disks and network shares all have their say
        tempfile.TemporaryDirectory(prefix=".meddistill-", dir=parent).cleanup()
    except OSError as error:
        raise RunError(
            f"cannot write in {parent} ({error.strerror}); choose another run folder with --out"
        ) from error


@contextlib.contextmanager
def claimed(folder: RunFolder) -> Iterator[None]:
    """Make the folder and hold it for this process; a folder that could not be begun is removed again.

    `state.json` is the last file that a beginning writes: with it the folder stays, whatever happens.

    Raises:
        RunError: the folder cannot be made, or another process holds it.
    """
    try:
        folder.root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"cannot make {folder.root} ({error.strerror}); choose another with --out") from error
    with _only_one(folder.root):
        try:
            yield
        except BaseException:
            if not folder.state.exists():
                shutil.rmtree(folder.root, ignore_errors=True)
            raise


@contextlib.contextmanager
def _only_one(root: Path) -> Iterator[None]:
    """Hold `root`; the system lets go of it however the process ends. Windows has no such locks."""
    try:
        import fcntl
    except ImportError:
        yield
        return
    handle = os.open(root, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            message = f"{root} is in use by another training; wait for it or choose another folder"
            raise RunError(message) from error
        except OSError:  # file systems without locks
            pass
        yield
    finally:
        os.close(handle)

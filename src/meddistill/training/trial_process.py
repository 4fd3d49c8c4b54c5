"""The process that measures for `--auto-tune`, seen from outside: asked, waited for, and ended when late."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from typing import IO, Any, Self

import torch

from meddistill.config import Recipe
from meddistill.training.switches import Settings
from meddistill.training.trial import Baseline, Measured, TrialError

_COMMAND = [sys.executable, "-m", "meddistill.training.trials"]


class TrialProcess:
    """Measures settings of `recipe` in a process of its own, so that a compiler may crash or hang there.

    One line of JSON goes in for each question, and one comes out for each answer. The process is started
    when it is first needed, and anew after it had to be ended; it ends itself when this one is gone.

    Args:
        recipe: a checked recipe.
    """

    def __init__(self, recipe: Recipe) -> None:
        self._recipe = recipe
        self._process: subprocess.Popen[str] | None = None
        self._answers: queue.Queue[str | None] = queue.Queue()
        self._errors: IO[str] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def baseline(self) -> Baseline:
        """Start the process and let it read the images.

        Raises:
            TrialError: it could not, for example because the recipe asks for what is not there.
        """
        return self._start(limit=None)

    def compare(self, without: Settings, change: Settings, *, seconds: float, limit: float) -> Measured:
        """Measure rounds for about `seconds`; the process is ended when that takes longer than `limit`.

        Raises:
            TrialError: the settings could not be measured, or not in time.
        """
        begun = time.monotonic()
        if self._process is None:
            self._start(limit)
            limit -= time.monotonic() - begun
        answer = self._ask({"without": without, "change": change, "seconds": seconds}, limit)
        return Measured(tuple(answer["ratios"]), answer["step_seconds"], answer["start_seconds"])

    def _start(self, limit: float | None) -> Baseline:
        self._errors = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115 - see _end
        self._answers = queue.Queue()
        self._process = subprocess.Popen(
            _COMMAND,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            start_new_session=True,
        )
        threading.Thread(target=_pass_on, args=(self._process, self._answers), daemon=True).start()
        first = {"recipe": self._recipe.model_dump(mode="json"), "threads": torch.get_num_threads()}
        answer = self._ask(first, limit)
        return Baseline(answer["shares"], answer["steps"])

    def _ask(self, question: dict[str, Any], limit: float | None) -> dict[str, Any]:
        """The process's answer, waited for `limit` seconds."""
        process = self._process
        assert process is not None
        assert process.stdin is not None
        with contextlib.suppress(OSError):  # a process that is gone answers nothing, which is noticed below
            process.stdin.write(json.dumps(question) + "\n")
            process.stdin.flush()
        try:
            line = self._answers.get(timeout=None if limit is None else max(limit, 0.0))
        except queue.Empty:
            self._end()
            raise TrialError(f"took longer than the {limit:.0f} s that were left") from None
        if line is None:
            raise TrialError(self._last_words())
        answer: dict[str, Any] = json.loads(line)
        if "failed" in answer:
            raise TrialError(answer["failed"])
        return answer

    def _last_words(self) -> str:
        """Why the process ended by itself."""
        assert self._process is not None
        assert self._errors is not None
        code = self._process.wait()
        self._errors.seek(0)
        lines = self._errors.read().strip().splitlines()
        self._end()
        ended = f"the measuring process ended with signal {-code}" if code < 0 else f"exit code {code}"
        return f"{ended} ({lines[-1]})" if lines else ended

    def _end(self) -> None:
        """End the process and all that it started."""
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            if hasattr(os, "killpg"):
                os.killpg(self._process.pid, signal.SIGKILL)
            else:
                self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._errors):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()
        self._process = self._errors = None


def _pass_on(process: subprocess.Popen[str], answers: queue.Queue[str | None]) -> None:
    """Put each line that the process prints into the queue, and None when it prints no more."""
    assert process.stdout is not None
    with process.stdout as lines:
        for line in lines:
            answers.put(line)
    answers.put(None)

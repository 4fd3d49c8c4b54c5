"""Held-out examples to fit on: images with a network's logits and the truth."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from torch import Tensor

from meddistill.calibration.calibrators import Calibrator
from meddistill.calibration.pixels import Batches, labelled_pixels
from meddistill.evaluation.proper_scores import pixel_scores

Example = tuple[Tensor, Tensor, Tensor]
"""Images (B, C, *S), logits (B, K, *S) and labels (B, *S)."""

Examples = Callable[[], Iterable[Example]]
"""Starts a new pass over examples."""

KEPT_BYTES = 2**29
"""How much of them is kept between passes."""


class Kept:
    """Examples that are computed once, if they fit into memory, and anew at every pass otherwise.

    Args:
        examples: computes them.
        most: bytes that may be kept.

    Example:
        >>> import torch
        >>> passes = []
        >>> def examples():
        ...     passes.append(1)
        ...     yield torch.zeros(1, 1), torch.zeros(1, 2), torch.zeros(1)
        >>> kept = Kept(examples)
        >>> [len(list(kept())) for _ in range(3)], len(passes)
        ([1, 1, 1], 1)
    """

    def __init__(self, examples: Examples, most: int = KEPT_BYTES) -> None:
        self._examples, self._most = examples, most
        self._kept: list[Example] | None = None

    def __call__(self) -> Iterator[Example]:
        """A pass."""
        if self._kept is not None:
            yield from self._kept
            return
        held: list[Example] = []
        size = 0
        for example in self._examples():
            size += sum(part.nbytes for part in example)
            if size <= self._most:
                held.append(example)
            else:
                held.clear()
            yield example
        if size <= self._most:
            self._kept = held


def without_images(examples: Examples, calibrator: Calibrator | None = None) -> Batches:
    """Logits and labels alone, the logits calibrated where a calibrator is given."""

    def batches() -> Iterator[tuple[Tensor, Tensor]]:
        for image, logits, labels in examples():
            yield (logits if calibrator is None else calibrator(logits, image)), labels

    return batches


def mean_nll(examples: Examples, calibrator: Calibrator | None = None) -> float:
    """Mean negative log-likelihood per labelled pixel, in nats.

    Args:
        examples: one pass is made.
        calibrator: changes the logits first; None leaves them.

    Raises:
        DataError: no labelled pixel, or logits that are not finite or do not fit the labels.

    Example:
        >>> import torch
        >>> pair = torch.tensor([[0.25, 0.75]]).log(), torch.tensor([1])
        >>> round(mean_nll(lambda: [(torch.zeros(1, 1), *pair)]), 4)
        0.2877
    """
    total, pixels = 0.0, 0
    for logits, labels in labelled_pixels(without_images(examples, calibrator)):
        total += float(pixel_scores(logits.T.log_softmax(dim=1), labels).nll.double().sum())
        pixels += len(labels)
    return total / pixels

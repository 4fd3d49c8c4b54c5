"""Curves and scores of a run, one function a drawing; each says in words what it shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from meddistill.report.numbers import compact, number
from meddistill.report.reading import History, to_number
from meddistill.report.svg import DASHES, INK, MUTED, NARROW, SERIES, Drawing, Picture, drawing

Points = list[tuple[float, float]]
SELECTION_COLUMNS = {"selection_dice": "Dice", "selection_auroc": "AUROC"}
PACING_COLUMNS = {
    "threshold": "threshold",
    "cpl_threshold": "soft-weight threshold (cpl)",
    "share_in_use": "share of pixels in use",
}


def curve(history: History, column: str) -> Points:
    """The points (epoch, value) of a column where the value is known.

    Example:
        >>> curve({"epoch": [0.0, 1.0], "train_loss": [0.7, None]}, "train_loss")
        [(0.0, 0.7)]
    """
    values = history.get(column, [])
    epochs = history.get("epoch") or [float(position) for position in range(len(values))]
    return [(x, y) for x, y in zip(epochs, values, strict=False) if x is not None and y is not None]


def loss_curves(history: History, best_epoch: float | None = None) -> Picture | None:
    """All losses by epoch: the training loss and its terms, and the loss on the selection split."""
    names = [name for name in history if name.startswith("train_") or name == "selection_loss"]
    lines = {name: points for name in names if (points := curve(history, name))}
    if not lines:
        return None
    labels = {name: name.removeprefix("train_").replace("_", " ") for name in lines}
    labels |= {"train_loss": "training loss", "selection_loss": "selection loss"}
    with drawing(2.9) as canvas:
        axes = _epoch_axes(canvas, ylabel="loss")
        _draw_lines(axes, {labels[name]: points for name, points in lines.items()})
        _mark_epoch(axes, best_epoch)
        draw_legend(canvas.figure, axes)
    ends = [
        f"{labels[name]} from {compact(pts[0][1])} to {compact(pts[-1][1])}" for name, pts in lines.items()
    ]
    return canvas.picture("Losses", f"Epochs {lines_span(lines.values())}: {'; '.join(ends)}.")


def selection_curve(history: History, best_epoch: float | None = None) -> Picture | None:
    """The score on the selection split by epoch, with the chosen epoch marked."""
    known = {name: points for name in SELECTION_COLUMNS if (points := curve(history, name))}
    if not known:
        return None
    (column, points), *_ = known.items()
    name = SELECTION_COLUMNS[column]
    chosen = next((point for point in points if point[0] == best_epoch), None)
    with drawing(2.9) as canvas:
        axes = _epoch_axes(canvas, ylabel=f"{name} on the selection split")
        axes.plot(*zip(*points, strict=True), color=SERIES[0], marker="o" if len(points) < 3 else "")
        axes.set_ylim(*room_for([y for _, y in points]))
        _mark_epoch(axes, best_epoch)
        if chosen:
            axes.plot(*chosen, marker="o", markersize=7, color=SERIES[1], linestyle="none")
    alt = f"Selection {name} starts at {number(points[0][1])} and ends at {number(points[-1][1])}."
    if chosen:
        alt += f" Epoch {chosen[0]:.0f} was chosen, with {number(chosen[1])}."
    return canvas.picture(f"Selection {name} and the chosen epoch", alt)


def pacing_curve(history: History) -> Picture | None:
    """The curriculum: thresholds and the share of pixels in use, by epoch."""
    lines = {label: pts for name, label in PACING_COLUMNS.items() if (pts := curve(history, name))}
    if not lines:
        return None
    with drawing(2.9) as canvas:
        axes = _epoch_axes(canvas, ylabel="confidence, or share of pixels", ylim=(-0.03, 1.03))
        _draw_lines(axes, lines, drawstyle="steps-post")
        draw_legend(canvas.figure, axes)
    ends = [f"{label} from {compact(pts[0][1])} to {compact(pts[-1][1])}" for label, pts in lines.items()]
    return canvas.picture(
        "Thresholds and pixels in use", f"Epochs {lines_span(lines.values())}: {'; '.join(ends)}."
    )


def dice_by_case(scores: Sequence[Mapping[str, str]], where: str = "") -> Picture | None:
    """Every defined Dice score as a dot, grouped by stratum, with each stratum's median.

    Args:
        scores: rows of the per-case table.
        where: the set of cases, for the title.
    """
    groups: dict[str, list[float]] = {}
    for row in scores:
        if (dice := to_number(row.get("dice"))) is not None:
            groups.setdefault(row.get("stratum") or "all", []).append(dice)
    if not groups:
        return None
    with drawing(1.1 + 0.5 * len(groups)) as canvas:
        axes = canvas.axes(xlabel="Dice of a case", xlim=(-0.02, 1.02))
        for level, values in enumerate(groups.values()):
            axes.plot(
                sorted(values), _spread(len(values), level), "o", color=SERIES[0], alpha=0.55, markersize=3.5
            )
            axes.plot([_median(values)] * 2, [level - 0.34, level + 0.34], color=SERIES[1], linewidth=2.5)
        axes.set_yticks(range(len(groups)), [f"{name} ({len(values)})" for name, values in groups.items()])
        axes.set_ylim(len(groups) - 0.5, -0.5)
        axes.grid(visible=False, axis="y")
    parts = [f"{name}: median {number(_median(v))}, lowest {number(min(v))}" for name, v in groups.items()]
    title = f"Dice of every case, {where}" if where else "Dice of every case"
    words = f"Dots are cases, bars are medians. {'; '.join(parts)}."
    return canvas.picture(title, f"{where}: {words}" if where else words)


def class_curves(summary: Mapping[str, Any], most: int) -> Picture | None:
    """The ROC curves of at most `most` classes, the rarest where there are more; two classes share one.

    Args:
        summary: `roc` and `classes` of `summarise_answers`.
        most: how many curves to draw.
    """
    known = {name: curve for name, curve in (summary.get("roc") or {}).items() if curve}
    classes = summary.get("classes") or {}
    if len(known) == 2 and summary.get("task") == "classification":
        known.pop(next(iter(known)))  # the other one is its mirror image
    images = {name: (classes.get(name) or {}).get("counts", {}).get("label", 0) for name in known}
    shown = [name for name in known if name in sorted(images, key=lambda name: images[name])[:most]]
    if not shown:
        return None
    with drawing(3.6, NARROW) as canvas:
        axes = canvas.axes(xlabel="1 − specificity", ylabel="sensitivity", xlim=(0, 1), ylim=(0, 1.01))
        lines = {name: _roc_points(known[name]) for name in shown}
        _draw_lines(axes, lines)
        axes.plot([0, 1], [0, 1], color=INK, linewidth=1, linestyle=(0, (4, 2)))
        axes.set_aspect("equal")
        draw_legend(canvas.figure, axes)
    areas = [f"{name} {_area(classes.get(name))}" for name in shown]
    left = f"; {len(known) - len(shown)} more are not drawn" if len(known) > len(shown) else ""
    return canvas.picture("ROC curves", f"Area under the curve: {', '.join(areas)}{left}.")


def strength_curves(curves: Mapping[str, Points], label: str) -> Picture | None:
    """A score by the strength of what was done to the images, a line for each kind of it.

    Args:
        curves: points (grey levels, score) by name; those of fewer than two points are left out.
        label: of the score.
    """
    lines = {name: points for name, points in curves.items() if len(points) > 1}
    if not lines:
        return None
    with drawing(2.9) as canvas:
        axes = canvas.axes(xlabel="largest change of a pixel, grey levels of 255", ylabel=label)
        _draw_lines(axes, lines)
        axes.set_ylim(*room_for([y for points in lines.values() for _, y in points]))
        draw_legend(canvas.figure, axes)
    words = [
        f"{name}: " + ", ".join(f"{number(y)} at {compact(x)}" for x, y in points)
        for name, points in lines.items()
    ]
    return canvas.picture(f"{label} under attack", f"{label} by strength. {'; '.join(words)}.")


def risk_curves(curves: Mapping[str, Points], label: str) -> Picture | None:
    """The risk of the answers that are kept by their share, a line for each order.

    Args:
        curves: points (coverage, risk) by name; empty ones are left out.
        label: of the risk.
    """
    lines = {name: points for name, points in curves.items() if points}
    if not lines:
        return None
    with drawing(2.9) as canvas:
        axes = canvas.axes(xlabel="share that is kept, the most certain first", ylabel=label, xlim=(0, 1.02))
        _draw_lines(axes, lines)
        axes.set_ylim(*room_for([y for points in lines.values() for _, y in points]))
        draw_legend(canvas.figure, axes)
    ends = [f"{name} from {number(pts[0][1])} to {number(pts[-1][1])}" for name, pts in lines.items()]
    return canvas.picture("Risk and coverage", f"{label} by the share that is kept: {'; '.join(ends)}.")


def _roc_points(curve: Mapping[str, Any]) -> Points:
    return list(zip(curve["false_positive_rate"], curve["true_positive_rate"], strict=True))


def _area(part: Any) -> str:
    estimate = ((part or {}).get("metrics") or {}).get("auroc") or {}
    return number(estimate.get("mean"))


def lines_span(lines: Any) -> str:
    """First and last epoch of some curves, as `0 to 39`."""
    epochs = [x for points in lines for x, _ in points]
    return f"{min(epochs):.0f} to {max(epochs):.0f}"


def _epoch_axes(canvas: Drawing, **options: Any) -> Any:
    axes = canvas.axes(xlabel="epoch", **options)
    axes.xaxis.get_major_locator().set_params(integer=True)
    return axes


def room_for(values: Sequence[float]) -> tuple[float, float]:
    """Limits round some values that do not blow up differences of less than a tenth."""
    margin = 0.08 * max(max(values) - min(values), 0.1)
    return min(values) - margin, max(values) + margin


def _draw_lines(axes: Any, lines: Mapping[str, Points], **options: Any) -> None:
    for position, (label, points) in enumerate(lines.items()):
        style = position % len(SERIES)
        marker = "o" if len(points) < 3 else ""
        x, y = zip(*points, strict=True)
        axes.plot(x, y, label=label, color=SERIES[style], linestyle=DASHES[style], marker=marker, **options)


def _mark_epoch(axes: Any, epoch: float | None) -> None:
    if epoch is None:
        return
    axes.axvline(epoch, color=MUTED, linewidth=1, linestyle=(0, (2, 2)))
    left, right = axes.get_xlim()
    side = "right" if epoch > (left + right) / 2 else "left"
    text = f"chosen epoch {epoch:.0f}"
    axes.annotate(text, (epoch, 1.02), xycoords=("data", "axes fraction"), ha=side, va="bottom", color=INK)


def draw_legend(figure: Any, axes: Any) -> None:
    """The legend of the lines on `axes`, above them."""
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper left", ncols=2, handlelength=2.6)


def _median(values: Sequence[float]) -> float:
    ordered, middle = sorted(values), len(values) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


def _spread(count: int, level: int) -> list[float]:
    """Heights round `level` that keep neighbouring dots apart, the same each time."""
    return [level + ((position * 0.618) % 1.0 - 0.5) * 0.5 for position in range(count)]

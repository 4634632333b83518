"""Plots of the report as inline SVG (the only importer of matplotlib); colours are the page's CSS variables."""

import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import Any, ParamSpec

import matplotlib as mpl
from markupsafe import Markup, escape
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

# matplotlib knows no CSS variables: it draws in stand-ins that are exchanged afterwards, so that
# one drawing serves the light and the dark scheme
STAND_INS = {f"#0000{position:02x}": name for position, name in enumerate(("ink", "muted", "grid", "accent", "second", "paper"), 1)}
STAND_INS |= {f"#0001{position:02x}": f"aside-{position}" for position in range(8)}
INK, MUTED, GRID, ACCENT, SECOND, PAPER, *ASIDE = STAND_INS
SETTINGS: dict[str, Any] = {
    "svg.fonttype": "none",  # text stays text: it takes the page's font and can be searched
    "svg.hashsalt": "slmforge",
    "text.parse_math": False,  # names come from data; a dollar sign in one is a dollar sign
    "font.size": 11,
    "axes.edgecolor": GRID,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.labelcolor": MUTED,
    "text.color": INK,
    "xtick.color": GRID,
    "ytick.color": GRID,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "xtick.major.size": 3,
    "ytick.major.size": 0,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
}
LABELS = 92  # width of the names at the left of a panel
ROUND = (1, 2, 2.5, 5, 10)  # tick distances that people read easily
P = ParamSpec("P")


@dataclass(frozen=True)
class Bar:
    """A stacked bar with a line of text above it; parts are (value, colour)."""

    label: str
    note: str
    parts: tuple[tuple[float, str], ...]


@dataclass(frozen=True)
class Dot:
    """A value with its interval, if it has one; `strong` is the one the page is about."""

    label: str
    value: float | None
    low: float | None = None
    high: float | None = None
    strong: bool = False


def _styled(draw: Callable[P, Markup]) -> Callable[P, Markup]:
    """Draw under our settings, whatever the process has set."""

    @wraps(draw)
    def drawn(*args: P.args, **kwargs: P.kwargs) -> Markup:
        with mpl.rc_context(SETTINGS):
            return draw(*args, **kwargs)

    return drawn


def colour(position: int) -> str:
    """The stand-in for the n-th reason's colour."""
    return ASIDE[position % len(ASIDE)]


def variable(stand_in: str) -> str:
    """The CSS variable behind a stand-in."""
    return f"var(--{STAND_INS[stand_in]})"


@_styled
def stacks(bars: Sequence[Bar], title: str) -> Markup:
    """Horizontal stacked bars on one scale, each below its own line of text."""
    step = 34
    figure, axes = _panel(430, step * len(bars) + 4, (1, 2, 1, 2))
    longest = max((sum(value for value, _ in bar.parts) for bar in bars), default=0) or 1
    axes.set(xlim=(0, longest), ylim=(len(bars), 0))
    axes.axis("off")
    for row, bar in enumerate(bars):
        axes.text(0, row + 0.34, _short(bar.label, 42), va="baseline", fontsize=11)
        axes.text(longest, row + 0.34, bar.note, va="baseline", ha="right", fontsize=10, color=MUTED)
        start = 0.0
        for value, shade in bar.parts:
            axes.barh(row + 0.6, value, left=start, height=0.26, color=shade, linewidth=0)
            start += value
    return _svg(figure, title)


@_styled
def curve(points: Sequence[tuple[float, float]], title: str, *, share: bool = False) -> Markup:
    """A value over training steps; a share is drawn from 0 to 1."""
    figure, axes = _panel(290, 160, (40, 30, 10, 8))
    steps, values = [step for step, _ in points], [value for _, value in points]
    lone = "o" if len(points) == 1 else None
    axes.plot(steps, values, color=SECOND if share else ACCENT, linewidth=1.6, marker=lone, solid_joinstyle="round")
    axes.xaxis.set_major_locator(MaxNLocator(4, steps=ROUND, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(4, steps=ROUND))
    axes.set_xlabel("step", fontsize=10, labelpad=1)
    if share:
        axes.set(ylim=(-0.04, 1.04), yticks=[0, 0.5, 1])
    axes.grid(axis="y")
    axes.spines["left"].set_visible(False)
    return _svg(figure, title)


@_styled
def lines(names: Sequence[str], series: dict[str, Sequence[float | None]], title: str) -> Markup:
    """A line with dots for each of two series over the models; a missing value is a gap."""
    figure, axes = _panel(480, 230, (32, 26, 52, 16))
    for shade, (label, values), other in zip((ACCENT, SECOND), series.items(), [*series.values()][::-1], strict=True):
        whole = [float("nan") if value is None else value for value in values]
        axes.plot(range(len(values)), whole, color=shade, linewidth=1.6, marker="o", markersize=5.5, markeredgewidth=0)
        ending = ""
        for place, (value, beside) in enumerate(zip(values, other, strict=True)):
            if value is not None:
                # each number stands on the side that the other line is not on
                below = beside is not None and (value < beside or (value == beside and shade == SECOND))
                note = {"textcoords": "offset points", "ha": "center", "va": "top" if below else "baseline", "fontsize": 10}
                axes.annotate(f"{value:.2f}", (place, value), (0, -8 if below else 8), color=shade, **note)
                ending = label
        if ending:
            place, value = max((place, value) for place, value in enumerate(values) if value is not None)
            beside = other[place]
            below = beside is not None and value < beside
            axes.annotate(ending, (place, value), (15, -6 if below else -2), textcoords="offset points", color=shade)
    axes.set(xlim=(-0.35, len(names) - 0.65))
    axes.set_xticks(range(len(names)), [_short(name, 12) for name in names], fontsize=10)
    axes.yaxis.set_major_locator(MaxNLocator(5, steps=ROUND))
    axes.margins(y=0.18)
    axes.grid(axis="y")
    axes.spines["left"].set_visible(False)
    return _svg(figure, title)


@_styled
def path(points: Sequence[tuple[str, float, float]], title: str, across: str, up: str) -> Markup:
    """Named points (name, across, up) in their order, joined by a line; zero is marked on both axes."""
    figure, axes = _panel(480, 250, (44, 40, 70, 14))
    xs, ys = [x for _, x, _ in points], [y for _, _, y in points]
    axes.plot(xs, ys, color=MUTED, linewidth=1.2, marker="o", markersize=6.5, markerfacecolor=ACCENT, markeredgewidth=0)
    for place, (name, x, y) in enumerate(points):
        axes.annotate(_short(name, 15), (x, y), (7, 4 if place % 2 == 0 else -11), textcoords="offset points", fontsize=10)
    for line in (axes.axhline, axes.axvline):
        line(0, color=GRID, linewidth=1, zorder=0)
    axes.set_xlabel(across, fontsize=10, labelpad=2)
    axes.set_ylabel(up, fontsize=10, labelpad=2)
    axes.xaxis.set_major_locator(MaxNLocator(5, steps=ROUND))
    axes.yaxis.set_major_locator(MaxNLocator(5, steps=ROUND))
    axes.margins(x=0.12, y=0.16)
    axes.spines["left"].set_visible(False)
    axes.spines["bottom"].set_visible(False)
    return _svg(figure, title)


@_styled
def dots(rows: Sequence[Dot], title: str) -> Markup:
    """A dot with its interval for each row; from 0 to 1 where all values lie there."""
    figure, axes = _panel(360, 24 * len(rows) + 34, (LABELS, 22, 46, 6))
    known = [number for row in rows for number in (row.value, row.low, row.high) if number is not None]
    if known and all(0 <= number <= 1 for number in known):
        axes.set(xlim=(-0.02, 1.02), xticks=[0, 0.25, 0.5, 0.75, 1])
        axes.set_xticklabels(["0", "", "0.5", "", "1"])
    else:
        axes.margins(x=0.12)
        axes.xaxis.set_major_locator(MaxNLocator(4, steps=ROUND))
    for place, row in enumerate(rows):
        if row.value is None:
            continue
        shade = ACCENT if row.strong else MUTED
        if row.low is not None and row.high is not None:
            axes.plot([row.low, row.high], [place, place], color=shade, linewidth=2.2, alpha=0.55, solid_capstyle="round")
        axes.plot([row.value], [place], "o", color=shade, markersize=8 if row.strong else 6.5, markeredgewidth=0)
    _names(axes, [(row.label, row.strong, "–" if row.value is None else f"{row.value:.3f}") for row in rows])
    axes.grid(axis="x")
    return _svg(figure, title)


@_styled
def bars(rows: Sequence[Dot], title: str, digits: int = 0) -> Markup:
    """A horizontal bar from zero for each row."""
    figure, axes = _panel(360, 24 * len(rows) + 12, (LABELS, 6, 56, 6))
    for place, row in enumerate(rows):
        axes.barh(place, row.value or 0, height=0.5, color=ACCENT if row.strong else MUTED, alpha=1 if row.strong else 0.6, linewidth=0)
    axes.set(xlim=(0, max((row.value or 0 for row in rows), default=0) or 1), xticks=[])
    _names(axes, [(row.label, row.strong, "–" if row.value is None else f"{row.value:,.{digits}f}") for row in rows])
    axes.spines["bottom"].set_visible(False)
    axes.spines["left"].set_visible(True)
    return _svg(figure, title)


def _names(axes: Any, rows: Sequence[tuple[str, bool, str]]) -> None:
    """Names at the left and numbers at the right, downwards from the first."""
    axes.set(ylim=(len(rows) - 0.4, -0.6), yticks=[])
    axes.spines["left"].set_visible(False)
    across = axes.get_yaxis_transform()
    for place, (label, strong, number) in enumerate(rows):
        weight = "bold" if strong else "normal"
        away = {"textcoords": "offset points", "xycoords": across, "va": "center_baseline", "fontweight": weight}
        axes.annotate(_short(label, 15), (0, place), (-8, 0), ha="right", **away)
        axes.annotate(number, (1, place), (8, 0), ha="left", fontsize=10, color=INK if strong else MUTED, **away)


def _panel(width: float, height: float, margins: tuple[float, float, float, float]) -> tuple[Figure, Any]:
    """A transparent figure of one panel, in units of the page's pixels; margins left, bottom, right, top."""
    left, bottom, right, top = margins
    figure = Figure(figsize=(width / 72, height / 72))
    figure.patch.set_visible(False)
    axes = figure.add_axes((left / width, bottom / height, (width - left - right) / width, (height - bottom - top) / height))
    axes.patch.set_visible(False)
    axes.set_axisbelow(True)
    return figure, axes


def _short(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def _svg(figure: Figure, title: str) -> Markup:
    """The drawing as an element of the page: no header, no metadata, no clash of ids between drawings."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    width, height = (float(size) for size in re.findall(r' (?:width|height)="([\d.]+)pt"', text)[:2])
    opening = f'<svg viewBox="0 0 {width:g} {height:g}" style="max-width:{width * 1.2:g}px" role="img" aria-label="{escape(title)}">'
    text = opening + text[text.index(">") + 1 :]
    text = re.sub(r"<style.*?</style>", "", text, flags=re.DOTALL)  # it would style every drawing of the page
    text = re.sub(r' id="(figure|axes|patch|text|line2d|xtick|ytick|matplotlib\.axis|PathCollection|LineCollection)_\d+"', "", text)
    for stand_in, name in STAND_INS.items():
        text = text.replace(stand_in, f"var(--{name})")
    return Markup(text.strip())  # noqa: S704 -- matplotlib escapes the text that it draws

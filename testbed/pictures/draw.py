"""One picture per dashboard. The only module that needs matplotlib."""

from __future__ import annotations

import functools
import io
import math
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.patches import FancyBboxPatch, Rectangle
from matplotlib.textpath import TextPath
from PIL import Image

from operations.dashboards.generated import FOLDER
from operations.project import ROOT
from testbed.pictures import layout
from testbed.pictures.layout import Box
from testbed.pictures.panels import DrawnBoard, DrawnPanel, read_board
from testbed.pictures.prometheus import Prometheus, Series, TimeRange
from testbed.pictures.units import format_value, ticks

NOTE = "A simple rendering of the panels' queries with data from a running Prometheus. Grafana looks different."
DPI = 100
PALETTE = 160
"""Number of colours per file: enough for lines and text, and the file stays small."""

PAGE, PANEL_BACKGROUND, BORDER, TEXT, FAINT, GRID = "#f4f5f5", "#ffffff", "#d9dadd", "#24292e", "#6e7680", "#e6e8eb"
COLOURS = {"green": "#2f9e44", "red": "#d6293e", "text": TEXT}
LINES = (
    *("#3871dc", "#e8953a", "#2b9c6e", "#8f5fd1", "#8a5a3b", "#4fb3e8", "#b3a11f"),
    *("#d07ab8", "#5b6672", "#1f3a7a", "#8cc152", "#6b2f6b", "#1d7f86", "#c9a27a"),
)
"""Colours of lines, without red, which marks limits."""

SMALL, NORMAL, TITLE = 7.0, 8.5, 9.5
MARKER_WIDTH, NAME_GAP = 19, 14
"""Width in pixels of a legend's marker, and of the gap between two names."""


def draw_all(url: str, minutes: float, folder: Path) -> list[Path]:
    """Draw every generated dashboard with the latest minutes of a Prometheus. Return the written files.

    Raises:
        OperationError: Prometheus doesn't respond or refuses a query.
    """
    prometheus = Prometheus(url)
    span = TimeRange(time.time(), minutes * 60, prometheus.scrape_interval())
    folder.mkdir(parents=True, exist_ok=True)
    return [draw(read_board(file), prometheus, span, folder) for file in sorted((ROOT / FOLDER).glob("*.json"))]


def draw(board: DrawnBoard, prometheus: Prometheus, span: TimeRange, folder: Path) -> Path:
    """Draw one dashboard as `dashboard-<uid>.png`."""
    canvas = Canvas(layout.page_height(board.rows), span)
    canvas.header(board)
    for panel in board.panels:
        if panel.kind == "row":
            canvas.heading(panel)
        else:
            ask = prometheus.query_instant if panel.kind == "number" else prometheus.query_range
            canvas.panel(panel, [one for target in panel.targets for one in ask(*target, span)])
    path = folder / f"dashboard-{board.uid}.png"
    path.write_bytes(canvas.as_png())
    return path


class Canvas:
    """A picture being drawn; coordinates are in pixels from the upper left corner."""

    def __init__(self, height: int, span: TimeRange) -> None:
        self._height, self._span = height, span
        self.figure = Figure(figsize=(layout.WIDTH / DPI, height / DPI), dpi=DPI, facecolor=PAGE)
        FigureCanvasAgg(self.figure)
        self._page = self._axes(Box(0, 0, layout.WIDTH, height))
        self._page.set_xlim(0, layout.WIDTH)
        self._page.set_ylim(height, 0)
        self._page.axis("off")

    def header(self, board: DrawnBoard) -> None:
        """Draw the title, the description, the kind of picture and its time range."""
        begin, end = (datetime.fromtimestamp(one, UTC) for one in (self._span.moments[0], self._span.end))
        self._text(layout.GAP + 2, 22, board.title, 15, weight="bold")
        self._text(layout.GAP + 2, 46, board.description, NORMAL, FAINT)
        self._text(layout.GAP + 2, 66, NOTE, NORMAL, FAINT, style="italic")
        shown = f"{begin:%d %B %Y, %H:%M} to {end:%H:%M} UTC, scraped every {self._span.scrape_interval:.0f} s"
        self._text(layout.WIDTH - layout.GAP - 2, 22, shown, NORMAL, FAINT, ha="right")

    def heading(self, row: DrawnPanel) -> None:
        """Draw the title of a section, with a line on its right."""
        box = layout.panel_box(row.place)
        middle = box.top + box.height / 2
        self._text(box.left + 2, middle, row.title, TITLE + 1, weight="bold")
        begin = box.left + 18 + _width(row.title, TITLE + 1, bold=True)
        self._page.plot([begin, box.right], [middle, middle], color=BORDER, linewidth=1)

    def panel(self, panel: DrawnPanel, found: Sequence[Series]) -> None:
        """Draw a panel with its query results."""
        box = layout.panel_box(panel.place)
        self._page.add_patch(
            FancyBboxPatch(
                (box.left, box.top),
                box.width,
                box.height,
                boxstyle="round,pad=0,rounding_size=4",
                facecolor=PANEL_BACKGROUND,
                edgecolor=BORDER,
                linewidth=0.8,
            )
        )
        self._text(box.left + 10, box.top + 16, panel.title, TITLE, weight="bold")
        body = box.inside(10, 30, 12, 8)
        if not any(one.last is not None for one in found):
            size = 22 if panel.kind == "number" else TITLE + 2
            self._text(body.left + body.width / 2, body.top + body.height / 2, panel.no_value, size, FAINT, ha="center")
        elif panel.kind == "number":
            self._numbers(panel, found, body)
        elif panel.kind == "timeline":
            self._timeline(panel, found, body)
        else:
            self._graph(panel, found, body)

    def as_png(self) -> bytes:
        """Return the picture in the PNG format."""
        raw, small = io.BytesIO(), io.BytesIO()
        self.figure.savefig(raw, format="png", facecolor=PAGE)
        picture = Image.open(raw).convert("RGB").quantize(PALETTE, dither=Image.Dither.NONE)
        picture.save(small, format="PNG", optimize=True)
        return small.getvalue()

    # The kinds of panels.

    def _numbers(self, panel: DrawnPanel, found: Sequence[Series], body: Box) -> None:
        each = body.width / len(found)
        for number, one in enumerate(found):
            value = one.last
            shown = panel.no_value if value is None else format_value(value, panel.unit, panel.decimals)
            colour = FAINT if value is None else COLOURS[panel.colour_of(value)]
            middle = body.left + each * (number + 0.5)
            is_single = len(found) == 1
            self._text(
                middle,
                body.top + body.height * (0.45 if is_single else 0.36),
                shown,
                24 if is_single else 20,
                colour,
                ha="center",
            )
            if not is_single:
                self._text(middle, body.bottom - 12, one.name, SMALL + 0.5, FAINT, ha="center")

    def _timeline(self, panel: DrawnPanel, found: Sequence[Series], body: Box) -> None:
        size = min(NORMAL, (body.height - 20) / len(found) * 72 / DPI * 0.85)
        axes = self._axes(body.inside(max(_width(one.name, size) for one in found) + 16, 0, 4, 18))
        step = self._span.step
        for row, one in enumerate(found):
            for value, bar in _runs(one, self._span.moments):
                word = (panel.words or {}).get(value)
                colour = COLOURS[word[1]] if word else FAINT
                axes.add_patch(
                    Rectangle((bar[0], row + 0.12), bar[1] - bar[0] + step, 0.76, facecolor=colour, alpha=0.8)
                )
        axes.set_ylim(len(found), 0)
        axes.set_yticks([row + 0.5 for row in range(len(found))], [one.name for one in found], fontsize=size)
        self._time_axis(axes)
        axes.grid(visible=False)

    def _graph(self, panel: DrawnPanel, found: Sequence[Series], body: Box) -> None:
        limits = [one for one in found if one.name in panel.limits]
        lines = [one for one in found if one.name not in panel.limits]
        colours = {one.name: COLOURS["red"] for one in limits}
        colours |= {one.name: LINES[number % len(LINES)] for number, one in enumerate(lines)}
        legend = layout.lay_out_legend(
            [*colours], body.width - 60, lambda name: MARKER_WIDTH + _width(name, SMALL) + NAME_GAP
        )
        legend_height = 14 * len(legend.rows)
        highest = max((value for one in found for value in one.values if math.isfinite(value)), default=0)
        marks = ticks(1.06 * highest or 1, panel.unit)
        left = max(_width(text, SMALL) for _, text in marks) + 8
        axes = self._axes(body.inside(left, 2, 2, legend_height + 22))
        for one in lines:
            axes.plot(self._span.moments, one.values, color=colours[one.name], linewidth=1.2)
        for one in limits:
            axes.plot(self._span.moments, one.values, color=colours[one.name], linewidth=1.1, dashes=(6, 4))
        axes.set_ylim(0, 1.06 * highest or 1)
        axes.set_yticks([value for value, _ in marks], [text for _, text in marks], fontsize=SMALL)
        self._time_axis(axes)
        top = body.bottom - legend_height + 7
        for number, row in enumerate(legend.rows):
            self._legend_row(row, colours, panel.limits, body.left + 4, top + 14 * number)
        if legend.left_out:
            self._text(body.right, body.bottom - 7, f"+ {legend.left_out}", SMALL, FAINT, ha="right")

    def _legend_row(
        self, names: Sequence[str], colours: dict[str, str], limits: frozenset[str], left: float, middle: float
    ) -> None:
        for name in names:
            dashes = (0, (3, 2)) if name in limits else "solid"
            self._page.plot([left, left + 13], [middle, middle], color=colours[name], linewidth=2, linestyle=dashes)
            self._text(left + MARKER_WIDTH, middle, name, SMALL)
            left += MARKER_WIDTH + _width(name, SMALL) + NAME_GAP

    # Elements of the panels.

    def _axes(self, box: Box) -> Axes:
        height = self._height
        return self.figure.add_axes(
            (
                box.left / layout.WIDTH,
                1 - box.bottom / height,
                box.width / layout.WIDTH,
                box.height / height,
            )
        )

    def _time_axis(self, axes: Axes) -> None:
        span = self._span
        axes.set_xlim(span.moments[0], span.end)
        marks = layout.moments(span.moments[0], span.end)
        axes.set_xticks(marks, [f"{datetime.fromtimestamp(one, UTC):%H:%M}" for one in marks], fontsize=SMALL)
        axes.tick_params(length=0, colors=FAINT, pad=4)
        axes.grid(color=GRID, linewidth=0.7)
        axes.set_axisbelow(True)
        for side in axes.spines.values():
            side.set_visible(False)

    def _text(
        self,
        left: float,
        middle: float,
        text: str,
        size: float,
        colour: str = TEXT,
        *,
        ha: str = "left",
        weight: str = "normal",
        style: str = "normal",
    ) -> None:
        # Names may contain any character, so don't parse them as formulas.
        self._page.text(
            left,
            middle,
            text,
            fontsize=size,
            color=colour,
            ha=ha,
            va="center_baseline",
            weight=weight,
            style=style,
            parse_math=False,
        )


@functools.cache
def _width(text: str, size: float, *, bold: bool = False) -> float:
    """Return the width of a text in pixels."""
    font = FontProperties(weight="bold" if bold else "normal")
    return float(TextPath((0, 0), text, size=size * DPI / 72, prop=font, usetex=False).get_extents().width)


def _runs(one: Series, at: Sequence[float]) -> list[tuple[float, tuple[float, float]]]:
    """Return each stretch of equal values: the value, its first and its last time."""
    stretches = []
    for value, run in groupby(zip(one.values, at, strict=True), key=lambda pair: pair[0]):
        stretch = [moment for _, moment in run]
        if not math.isnan(value):
            stretches.append((value, (stretch[0], stretch[-1])))
    return stretches

"""Pictures of the dashboards: numbers use Grafana's units, and nothing is silently left out."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from matplotlib.colors import to_hex
from matplotlib.lines import Line2D
from matplotlib.text import Text
from PIL import Image

from operations.dashboards.generated import FOLDER
from operations.project import ROOT, OperationError
from testbed.pictures import layout, units
from testbed.pictures.draw import COLOURS, NOTE, Canvas, draw_all
from testbed.pictures.panels import DrawnPanel, Place, read_board
from testbed.pictures.prometheus import Prometheus, Series, TimeRange, with_values

BOARDS = [read_board(path) for path in sorted((ROOT / FOLDER).glob("*.json"))]
PANELS = [panel for board in BOARDS for panel in board.panels]
SPAN = TimeRange(end=1_800_000_000, seconds=60, scrape_interval=15)
"""A time range with five points of a line."""

PLACE = Place(x=0, y=0, w=8, h=8)
GRAPH = DrawnPanel(title="Requests", kind="graph", place=PLACE, limits=frozenset({"limit"}))
TIMELINE = DrawnPanel(title="Answers", kind="timeline", place=PLACE, words={0.0: ("down", "red"), 1.0: ("up", "green")})
NUMBER = DrawnPanel(title="Alerts", kind="number", place=PLACE, steps=((-math.inf, "green"), (1, "red")), no_value="–")  # noqa: RUF001


def canvas_with(panel: DrawnPanel, *found: Series) -> Canvas:
    """Draw a picture with one panel."""
    canvas = Canvas(layout.page_height(8), SPAN)
    canvas.panel(panel, found)
    return canvas


def texts(canvas: Canvas) -> set[str]:
    """Return the texts in the picture."""
    return {one.get_text() for one in canvas.figure.findobj(Text) if isinstance(one, Text)} - {""}


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0, "short", "0"),
        (1234, "short", "1.23 K"),
        (1234, "locale", "1,234"),
        (0.0512, "percentunit", "5.12 %"),
        (1, "percentunit", "100 %"),
        (-0.5, "percentunit", "-50 %"),
        (0.25, "s", "250 ms"),
        (0.0004, "s", "400 µs"),
        (90, "s", "1.5 min"),
        (14 * 86_400, "s", "14 days"),
        (1500, "ms", "1.5 s"),
        (3 * 2**20, "bytes", "3 MiB"),
        (2500, "Bps", "2.5 kB/s"),
        (12.34, "reqps", "12.3 req/s"),
        (0.5, "ops", "0.5 ops/s"),
        (45, "currencyEUR", "45 €"),
        (math.inf, "s", "inf"),
    ],
)
def test_a_number_is_written_with_its_unit(value: float, unit: str, text: str) -> None:
    assert units.format_value(value, unit) == text


def test_a_number_has_the_panels_decimals() -> None:
    assert units.format_value(41.6, "short", 0) == "42"
    assert units.format_value(3, "currencyEUR", 2) == "3.00 €"


@pytest.mark.parametrize("unit", units.SCALES)
@pytest.mark.parametrize("top", [0.003, 0.7, 1, 42, 999, 1024, 86_400, 5e8])
def test_an_axis_has_few_round_ticks_from_zero(unit: str, top: float) -> None:
    values = [value for value, _ in units.ticks(top, unit)]
    assert values[0] == 0
    assert 2 <= len(values) <= units.MAX_TICKS + 1
    assert 0.5 * top < values[-1] <= top * 1.000001
    assert len({text for _, text in units.ticks(top, unit)}) == len(values)


def test_all_ticks_of_an_axis_use_one_scale() -> None:
    assert [text for _, text in units.ticks(1.2, "s")] == ["0 s", "0.25 s", "0.5 s", "0.75 s", "1 s"]
    assert [text for _, text in units.ticks(5 * 2**20, "bytes")] == [
        "0 B",
        *(f"{number} MiB" for number in range(1, 6)),
    ]


def test_every_panel_has_a_supported_unit() -> None:
    assert {panel.unit for panel in PANELS} <= units.SCALES.keys()


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.uid)
def test_panels_fit_into_the_picture_and_do_not_overlap(board: Any) -> None:
    boxes = [layout.panel_box(panel.place) for panel in board.panels]
    assert max(box.right for box in boxes) == layout.WIDTH - layout.GAP
    assert max(box.bottom for box in boxes) < layout.page_height(board.rows)
    for number, one in enumerate(boxes):
        for other in boxes[number + 1 :]:
            is_horizontally_apart = one.right < other.left or other.right < one.left
            assert is_horizontally_apart or one.bottom < other.top or other.bottom < one.top


def test_a_legend_has_at_most_three_rows_and_counts_omitted_names() -> None:
    names = [f"name{number}" for number in range(10)]
    assert layout.lay_out_legend(names[:4], 30, lambda _: 10) == ([names[:3], names[3:4]], 0)
    assert layout.lay_out_legend(names, 30, lambda _: 10) == ([names[:3], names[3:6], names[6:9]], 1)
    assert layout.lay_out_legend(names[:1], 30, lambda _: 50) == ([names[:1]], 0)


@pytest.mark.parametrize(("seconds", "interval_s"), [(300, 60), (600, 120), (3600, 600), (6 * 3600, 3600)])
def test_a_time_axis_has_few_round_ticks(seconds: int, interval_s: int) -> None:
    found = layout.moments(1_799_999_990 - seconds, 1_799_999_990)
    assert {later - earlier for earlier, later in pairwise(found)} == {interval_s}
    assert [one % interval_s for one in found] == [0] * len(found)
    assert len(found) <= layout.MAX_TIME_LABELS


def test_points_of_a_line_are_few_and_whole_scrapes_apart() -> None:
    assert (TimeRange(0, 600, 5).step, TimeRange(0, 3600, 15).step, TimeRange(0, 6 * 3600, 15).step) == (5, 30, 150)
    assert SPAN.moments == [SPAN.end - 60, SPAN.end - 45, SPAN.end - 30, SPAN.end - 15, SPAN.end]


def test_grafanas_variables_are_filled_in() -> None:
    expression = with_values('rate(x{workload=~"$workload"}[$__rate_interval]) + increase(y[$__range])', SPAN)
    assert expression == 'rate(x{workload=~".+"}[60s]) + increase(y[60s])'
    assert not [expr for panel in PANELS for expr, _ in panel.targets if "$" in with_values(expr, SPAN)]


@pytest.mark.parametrize("panel", [GRAPH, TIMELINE])
def test_a_panel_without_data_shows_a_note(panel: DrawnPanel) -> None:
    assert texts(canvas_with(panel)) == {panel.title, "No data"}
    assert texts(canvas_with(panel, Series("gone", (math.nan,) * 5))) == {panel.title, "No data"}


def test_a_number_without_data_shows_the_panels_placeholder() -> None:
    assert texts(canvas_with(NUMBER)) == {"Alerts", NUMBER.no_value}


@pytest.mark.parametrize(("value", "colour"), [(0.0, "green"), (1.0, "red"), (7.0, "red")])
def test_a_number_has_the_colour_of_its_step(value: float, colour: str) -> None:
    canvas = canvas_with(NUMBER, Series("alerts", (value,)))
    (shown,) = (one for one in canvas.figure.findobj(Text) if isinstance(one, Text) and one.get_text() == f"{value:g}")
    assert shown.get_color() == COLOURS[colour]


def test_several_numbers_are_labelled() -> None:
    canvas = canvas_with(NUMBER, Series("pro-webapp", (1.0,)), Series("client-pwa", (0.0,)))
    assert texts(canvas) == {"Alerts", "0", "1", "pro-webapp", "client-pwa"}


def test_a_limit_is_a_dashed_red_line_even_among_many_series() -> None:
    many_series = [Series(f"a service of a long name, number {number}", (1.0,) * 5) for number in range(40)]
    canvas = canvas_with(GRAPH, *many_series, Series("limit", (3.0,) * 5))
    written = texts(canvas)
    assert "limit" in written
    named = len(written & {one.name for one in many_series})
    assert 0 < named < len(many_series)
    assert f"+ {len(many_series) - named}" in written
    flat = [line for line in canvas.figure.axes[1].lines if [*line.get_ydata()] == [3.0] * 5]  # type: ignore[misc]
    assert [(line.is_dashed(), to_hex(line.get_color())) for line in flat] == [(True, COLOURS["red"])]


def test_a_gap_in_the_data_stays_a_gap() -> None:
    canvas = canvas_with(GRAPH, Series("requests", (1.0, math.nan, 1.0, 1.0, 1.0)))
    (line,) = (one for one in canvas.figure.axes[1].lines if isinstance(one, Line2D))
    assert [math.isnan(float(value)) for value in line.get_ydata()] == [False, True, False, False, False]  # type: ignore[arg-type, union-attr]


def test_a_bar_is_green_red_or_missing() -> None:
    canvas = canvas_with(TIMELINE, Series("postgres", (1.0, 1.0, 0.0, math.nan, 1.0)))
    bars = canvas.figure.axes[1].patches
    assert [to_hex(bar.get_facecolor()) for bar in bars] == [COLOURS[one] for one in ("green", "red", "green")]
    assert [bar.get_width() for bar in bars] == [30, 15, 15]  # type: ignore[attr-defined]


# A complete picture from an API's responses.


@contextmanager
def prometheus(answers: dict[str, Any]) -> Iterator[tuple[str, list[str]]]:
    """An API with these responses by path, and its recorded requests; other paths return 400."""
    requests: list[str] = []

    class Api(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            requests.extend(parse_qs(parts.query).get("query", []))
            found = answers.get(parts.path.removeprefix("/api/v1/"))
            body = json.dumps({"data": found}) if found else "it can't be understood"
            self.send_response(200 if found else 400)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *arguments: object) -> None:
            """Don't log requests."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Api)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", requests
    finally:
        server.shutdown()
        server.server_close()


def test_series_have_names_and_the_right_times() -> None:
    values = [[SPAN.end - 60, "1"], [SPAN.end - 30, "NaN"], [SPAN.end, "2.5"]]
    found = {"result": [{"metric": {"workload": "rdv"}, "values": values}]}
    with prometheus({"query_range": found}) as (url, requests):
        (series,) = Prometheus(url).query_range("rate(x[$__rate_interval])", "{{workload}} {{code}}", SPAN)
    assert requests == ["rate(x[60s])"]
    assert series.name == "rdv"
    assert [*map(str, series.values)] == ["1.0", "nan", "nan", "nan", "2.5"]
    assert series.last == 2.5


def test_every_query_runs_and_every_picture_is_labelled(tmp_path: Path) -> None:
    answers = {
        "targets": {"activeTargets": [{"scrapeInterval": "5s"}, {"scrapeInterval": "1m30s"}]},
        "query": {"result": [{"metric": {"workload": "rdv"}, "value": [0, "3"]}]},
        "query_range": {"result": [{"metric": {"workload": "rdv"}, "values": [[0, "3"]]}]},
    }
    with prometheus(answers) as (url, requests):
        assert Prometheus(url).scrape_interval() == 90
        drawn = draw_all(url, 30, tmp_path)
    assert [path.name for path in drawn] == [f"dashboard-{board.uid}.png" for board in BOARDS]
    assert len(requests) == sum(len(panel.targets) for panel in PANELS)
    for path, board in zip(drawn, BOARDS, strict=True):
        assert Image.open(path).size == (layout.WIDTH, layout.page_height(board.rows))
    canvas = Canvas(400, SPAN)
    canvas.header(BOARDS[0])
    assert {NOTE, BOARDS[0].title, BOARDS[0].description} <= texts(canvas)


def test_an_unreachable_or_refusing_prometheus_is_named() -> None:
    with prometheus({}) as (url, _), pytest.raises(OperationError, match=r"query.*400.*it can't be understood"):
        Prometheus(url).query_instant("up", "up", SPAN)
    with pytest.raises(OperationError, match=r"No Prometheus answers at http://127\.0\.0\.1:9"):
        Prometheus("http://127.0.0.1:9").scrape_interval()
    with pytest.raises(OperationError, match=r"'127\.0\.0\.1:9090' is not the URL"):
        Prometheus("127.0.0.1:9090").scrape_interval()

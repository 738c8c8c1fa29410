"""A board as the JSON that Grafana reads, by way of Grafana's own SDK."""

from __future__ import annotations

import json
from typing import Any

from grafana_foundation_sdk.builders import common, dashboard, prometheus, stat, statetimeline, timeseries
from grafana_foundation_sdk.cog import builder as cog
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.variants import Dataquery
from grafana_foundation_sdk.models.common import (
    BigValueGraphMode,
    GraphThresholdsStyleMode,
    LegendDisplayMode,
    LegendPlacement,
)
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DashboardLinkType,
    DataSourceRef,
    DynamicConfigValue,
    Threshold,
    ThresholdsMode,
    ValueMap,
    ValueMappingResult,
    VariableRefresh,
    VariableSort,
)

from operations.dashboards.model import Board, Kind, Panel, Section

TAG = "pti-calendar"
DATASOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")
ROW_IDS_FROM = 1000
"""Headings need numbers too; panels have theirs below."""

NUMBER_HEIGHT, GRAPH_HEIGHT = 4, 8

SomePanel = timeseries.Panel | stat.Panel | statetimeline.Panel


def as_json(board: Board) -> str:
    """The same text for the same board, whatever the process."""
    built = json.loads(json.dumps(_dashboard(board).build(), cls=JSONEncoder))
    return json.dumps(built, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def _dashboard(board: Board) -> dashboard.Dashboard:
    built = (
        dashboard.Dashboard(board.title)
        .uid(board.uid)
        .description(board.description)
        .tags([TAG])
        # The files are mounted; what is changed in a browser would be lost.
        .readonly()
        .time(board.since, "now")
        .timezone("browser")
        .refresh("1m")
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .link(dashboard.DashboardLink("PTI Calendar").type(DashboardLinkType.DASHBOARDS).tags([TAG]).keep_time(True))
        .with_variable(dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus"))
    )
    if board.workloads:
        built = built.with_variable(_workload_variable(board.workloads))
    for number, section in enumerate(board.sections):
        built = _with_section(built, section, ROW_IDS_FROM + number)
    return built


def _workload_variable(series: str) -> dashboard.QueryVariable:
    return (
        dashboard.QueryVariable("workload")
        .label("Workload")
        .datasource(DATASOURCE)
        .query({"query": f"label_values({series}, workload)", "refId": "workload"})
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(VariableSort.ALPHABETICAL_ASC)
        .multi(True)
        .include_all(True)
        .all_value(".+")
    )


def _with_section(built: dashboard.Dashboard, section: Section, row_id: int) -> dashboard.Dashboard:
    built = built.with_row(dashboard.Row(section.title).id(row_id))
    for panel in section.panels:
        built = built.with_panel(_panel(panel))
    return built


def _panel(panel: Panel) -> SomePanel:
    built: SomePanel
    match panel.kind:
        case Kind.GRAPH:
            built = _graph(panel)
        case Kind.NUMBER:
            built = _number(panel)
        case Kind.TIMELINE:
            built = _timeline()
    built = (
        built.id(panel.id)
        .title(panel.title)
        .description(panel.description)
        .datasource(DATASOURCE)
        .unit(panel.unit)
        .span(panel.width)
        .height(NUMBER_HEIGHT if panel.kind is Kind.NUMBER else GRAPH_HEIGHT)
        .targets(_targets(panel))
    )
    if panel.decimals is not None:
        built = built.decimals(panel.decimals)
    if panel.link:
        built = built.data_links([dashboard.DashboardLink("look closer").url(panel.link)])
    return built


def _targets(panel: Panel) -> list[cog.Builder[Dataquery]]:
    targets: list[cog.Builder[Dataquery]] = []
    for number, query in enumerate((*panel.queries, *panel.limits)):
        target = prometheus.Dataquery().datasource(DATASOURCE).ref_id(chr(ord("A") + number))
        target = target.expr(query.expression).legend_format(query.legend)
        targets.append(target.instant() if panel.kind is Kind.NUMBER else target.range())
    return targets


def _graph(panel: Panel) -> timeseries.Panel:
    legend = common.VizLegendOptions().display_mode(LegendDisplayMode.LIST).placement(LegendPlacement.BOTTOM)
    built = (
        timeseries.Panel()
        .legend(legend.show_legend(True))
        .thresholds_style(common.GraphThresholdsStyleConfig().mode(GraphThresholdsStyleMode.OFF))
        .min(0)
        .fill_opacity(8)
        .line_width(1)
    )
    for mark in panel.limits:
        built = built.override_by_name(mark.legend, LIMIT_LINE)
    return built


LIMIT_LINE = [
    DynamicConfigValue(id_val="color", value={"mode": "fixed", "fixedColor": "red"}),
    DynamicConfigValue(id_val="custom.lineStyle", value={"fill": "dash", "dash": [8, 6]}),
    DynamicConfigValue(id_val="custom.fillOpacity", value=0),
]


def _number(panel: Panel) -> stat.Panel:
    return (
        stat.Panel()
        .graph_mode(BigValueGraphMode.NONE)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]).values(False))
        .thresholds(dashboard.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(_steps(panel)))
        .no_value("–")  # noqa: RUF001 - the sign for "nothing"
    )


def _steps(panel: Panel) -> list[Threshold]:
    # The first step has no value: it reaches down to everything.
    if panel.red_from is not None:
        return [Threshold(color="green"), Threshold(value=panel.red_from, color="red")]
    if panel.red_below is not None:
        return [Threshold(color="red"), Threshold(value=panel.red_below, color="green")]
    return [Threshold(color="text")]


def _timeline() -> statetimeline.Panel:
    words: dict[str, Any] = {
        "0": ValueMappingResult(text="down", color="red"),
        "1": ValueMappingResult(text="up", color="green"),
    }
    legend = common.VizLegendOptions().display_mode(LegendDisplayMode.LIST).placement(LegendPlacement.BOTTOM)
    return statetimeline.Panel().mappings([ValueMap(options=words)]).legend(legend.show_legend(False)).fill_opacity(70)

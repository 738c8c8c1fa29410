"""Converts a dashboard to Grafana's JSON with Grafana's own SDK."""

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
FIRST_ROW_ID = 1000
"""First number for headings, which need numbers too; panels have smaller ones."""

NUMBER_HEIGHT, GRAPH_HEIGHT = 4, 8

PanelBuilder = timeseries.Panel | stat.Panel | statetimeline.Panel


def dashboard_json(board: Board) -> str:
    """Return the dashboard's JSON. The same dashboard always gives the same text."""
    built = json.loads(json.dumps(_dashboard(board).build(), cls=JSONEncoder))
    return json.dumps(built, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def _dashboard(board: Board) -> dashboard.Dashboard:
    builder = (
        dashboard.Dashboard(board.title)
        .uid(board.uid)
        .description(board.description)
        .tags([TAG])
        # The dashboards are provisioned from files; changes in a browser would be lost.
        .readonly()
        .time(board.default_start, "now")
        .timezone("browser")
        .refresh("1m")
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .link(dashboard.DashboardLink("PTI Calendar").type(DashboardLinkType.DASHBOARDS).tags([TAG]).keep_time(True))
        .with_variable(dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus"))
    )
    if board.workloads:
        builder = builder.with_variable(_workload_variable(board.workloads))
    for number, section in enumerate(board.sections):
        builder = _with_section(builder, section, FIRST_ROW_ID + number)
    return builder


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


def _with_section(builder: dashboard.Dashboard, section: Section, row_id: int) -> dashboard.Dashboard:
    builder = builder.with_row(dashboard.Row(section.title).id(row_id))
    for panel in section.panels:
        builder = builder.with_panel(_panel(panel))
    return builder


def _panel(panel: Panel) -> PanelBuilder:
    builder: PanelBuilder
    match panel.kind:
        case Kind.GRAPH:
            builder = _graph_panel(panel)
        case Kind.NUMBER:
            builder = _number_panel(panel)
        case Kind.TIMELINE:
            builder = _timeline_panel()
    builder = (
        builder.id(panel.id)
        .title(panel.title)
        .description(panel.description)
        .datasource(DATASOURCE)
        .unit(panel.unit)
        .span(panel.width)
        .height(NUMBER_HEIGHT if panel.kind is Kind.NUMBER else GRAPH_HEIGHT)
        .targets(_targets(panel))
    )
    if panel.decimals is not None:
        builder = builder.decimals(panel.decimals)
    if panel.link:
        builder = builder.data_links([dashboard.DashboardLink("look closer").url(panel.link)])
    return builder


def _targets(panel: Panel) -> list[cog.Builder[Dataquery]]:
    targets: list[cog.Builder[Dataquery]] = []
    for number, query in enumerate((*panel.queries, *panel.limits)):
        target = prometheus.Dataquery().datasource(DATASOURCE).ref_id(chr(ord("A") + number))
        target = target.expr(query.expression).legend_format(query.legend)
        targets.append(target.instant() if panel.kind is Kind.NUMBER else target.range())
    return targets


def _graph_panel(panel: Panel) -> timeseries.Panel:
    legend = common.VizLegendOptions().display_mode(LegendDisplayMode.LIST).placement(LegendPlacement.BOTTOM)
    builder = (
        timeseries.Panel()
        .legend(legend.show_legend(True))
        .thresholds_style(common.GraphThresholdsStyleConfig().mode(GraphThresholdsStyleMode.OFF))
        .min(0)
        .fill_opacity(8)
        .line_width(1)
    )
    for limit in panel.limits:
        builder = builder.override_by_name(limit.legend, LIMIT_LINE)
    return builder


LIMIT_LINE = [
    DynamicConfigValue(id_val="color", value={"mode": "fixed", "fixedColor": "red"}),
    DynamicConfigValue(id_val="custom.lineStyle", value={"fill": "dash", "dash": [8, 6]}),
    DynamicConfigValue(id_val="custom.fillOpacity", value=0),
]


def _number_panel(panel: Panel) -> stat.Panel:
    return (
        stat.Panel()
        .graph_mode(BigValueGraphMode.NONE)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]).values(False))
        .thresholds(dashboard.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(_threshold_steps(panel)))
        .no_value("–")  # noqa: RUF001 - means "no data"
    )


def _threshold_steps(panel: Panel) -> list[Threshold]:
    # The first step has no value: it has no lower bound.
    if panel.red_from is not None:
        return [Threshold(color="green"), Threshold(value=panel.red_from, color="red")]
    if panel.red_below is not None:
        return [Threshold(color="red"), Threshold(value=panel.red_below, color="green")]
    return [Threshold(color="text")]


def _timeline_panel() -> statetimeline.Panel:
    words: dict[str, Any] = {
        "0": ValueMappingResult(text="down", color="red"),
        "1": ValueMappingResult(text="up", color="green"),
    }
    legend = common.VizLegendOptions().display_mode(LegendDisplayMode.LIST).placement(LegendPlacement.BOTTOM)
    return statetimeline.Panel().mappings([ValueMap(options=words)]).legend(legend.show_legend(False)).fill_opacity(70)

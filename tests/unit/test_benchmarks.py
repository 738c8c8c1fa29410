"""The benchmarks' baselines are rendered from the current program."""

from __future__ import annotations

import yaml

from benchmarks import cluster, up
from benchmarks.prod_without_cluster import configuration_of_prod
from tests.engine.configurations import zookeeper_with_tools
from tests.full_run import only_in_full_runs

pytestmark = only_in_full_runs


def test_compose_starts_the_dev_stack() -> None:
    rendered = yaml.safe_load(up.rendered("benchmark", zookeeper_with_tools()))
    assert {"postgres", "redis", "kafka", "zookeeper", "pgadmin"} <= rendered["services"].keys()


def test_a_bare_program_registers_the_objects_of_production() -> None:
    texts, secret = configuration_of_prod()
    objects, resources = cluster.rendered({key: text for key, text in texts.items() if key not in secret})
    assert {"Deployment", "StatefulSet", "Job", "NetworkPolicy"} <= {one["kind"] for one in objects}
    assert resources > len(objects)

"""Values as the real `pulumi config set --path` stores them, and as the program reads them."""

from __future__ import annotations

import yaml

from tests.engine import configurations
from tests.engine.conftest import MakeStack
from tests.unit.stored_values import TYPED, stored


def test_pulumi_stores_values_as_the_unit_tests_assume(make_stack: MakeStack) -> None:
    stack = make_stack()
    for number, typed in enumerate(TYPED):
        stack.set_path(f"redis.key{number}", typed)
    config = yaml.safe_load(stack.config_file.read_text())["config"]
    assert config["pti-calendar:redis"] == {f"key{number}": stored(typed) for number, typed in enumerate(TYPED)}


def test_values_as_the_documentation_types_them_are_accepted(make_stack: MakeStack) -> None:
    stack = make_stack(configuration=configurations.zookeeper_with_tools())
    stack.set_path("redis.cpuRequest", "0.1")
    stack.set_path("monitoring.enabled", "false")
    stack.set_path("services.environment.WORKERS", "4")
    stack.set_path("services.environment.FEATURE_X", "true")
    stack.preview().succeeded()

    stack.set_path("services.environment.RATIO", "0.50")
    config = yaml.safe_load(stack.config_file.read_text())["config"]
    assert config["pti-calendar:services"]["environment"] == {"WORKERS": 4, "FEATURE_X": True, "RATIO": "0.50"}
    stack.preview().succeeded()

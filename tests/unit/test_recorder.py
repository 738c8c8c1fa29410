"""The recorder, and the undocumented parts of Pulumi's SDK that it uses."""

from __future__ import annotations

import ast
import inspect
from typing import Any

import pulumi
import pytest
from pulumi.runtime import _callbacks, mocks, rpc
from pulumi.runtime import settings as runtime_settings

from recording import recorder

PRIVATE_NAMES = {"_special_sig_key": rpc, "_special_secret_sig": rpc}
"""Private names, which may change in any release of the SDK."""

UNDOCUMENTED_NAMES = {
    "ROOT": runtime_settings,
    "configure": runtime_settings,
    "MockEngine": mocks,
    "MockMonitor": mocks,
    "MockSettings": mocks,
}


def attributes(source: str) -> set[str]:
    """Return the attributes that a module reads from the SDK's runtime modules."""
    return {
        node.attr
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id in {"rpc", "mocks", "runtime_settings"}
    }


def test_the_recorder_uses_no_other_undocumented_name_of_the_sdk() -> None:
    documented = {"Mocks", "MockCallArgs", "MockResourceArgs"}
    used = attributes(inspect.getsource(recorder))
    assert used - documented == PRIVATE_NAMES.keys() | UNDOCUMENTED_NAMES.keys()


@pytest.mark.parametrize(("name", "module"), [*PRIVATE_NAMES.items(), *UNDOCUMENTED_NAMES.items()])
def test_the_sdk_has_each_undocumented_name(name: str, module: object) -> None:
    assert hasattr(module, name), f"this release of the pulumi package has no {name}: adapt recording/recorder.py"


def test_the_sdk_marks_secrets_as_the_engine_does() -> None:
    # pulumi/pulumi, sdk/go/common/resource/sig: constants of the protocol between engine, SDKs and providers.
    assert rpc._special_sig_key == "4dabf18193072939515e22adb298388d"
    assert rpc._special_secret_sig == "1b47061264138c4ac30d75fd1eb44270"


def test_the_runtime_settings_have_what_the_recorder_sets() -> None:
    used = {
        keyword.arg
        for node in ast.walk(ast.parse(inspect.getsource(recorder)))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "MockSettings"
        for keyword in node.keywords
    }
    assert used == {
        *("monitor", "monitor_features", "engine", "project", "stack", "dry_run", "outputs", "callbacks"),
    }
    assert {name for name in used if name is not None and not hasattr(runtime_settings.SETTINGS, name)} == set()


@pytest.mark.parametrize("name", ["make_urn", "GetDeploymentInfo", "RegisterResource", "RegisterResourceOutputs"])
def test_the_mock_monitor_has_each_method_that_the_recorder_calls_or_replaces(name: str) -> None:
    ours, theirs = getattr(recorder._Monitor, name), getattr(mocks.MockMonitor, name)
    assert list(inspect.signature(ours).parameters) == list(inspect.signature(theirs).parameters)


@pytest.mark.parametrize("name", ["register_resource_hook", "register_error_hook"])
def test_the_sdk_registers_hooks_by_the_method_that_the_recorder_replaces(name: str) -> None:
    ours, theirs = getattr(recorder._Monitor, name), getattr(_callbacks._CallbackServicer, name)
    assert list(inspect.signature(ours).parameters) == list(inspect.signature(theirs).parameters)


class Part(pulumi.ComponentResource):
    """A component with one output, and a stash with a secret and a hook."""

    def __init__(self) -> None:
        super().__init__("test:index:Part", "part")
        self.stash = pulumi.Stash(
            "stash",
            input=pulumi.Output.secret("hidden"),
            opts=pulumi.ResourceOptions(
                parent=self,
                hooks=pulumi.ResourceHookBinding(before_create=[pulumi.ResourceHook("before", ignore)]),
            ),
        )
        pulumi.export("value", self.stash.input)
        self.register_outputs({"plain": 1, "hidden": self.stash.input})


def ignore(arguments: pulumi.ResourceHookArgs) -> None:
    """Do nothing."""


def test_a_recording_has_parents_secrets_hooks_and_exports() -> None:
    recording = recorder.record(Part)
    stash = recording.get("Stash", "stash")
    assert stash.parent == "test:index:Part part"
    assert stash.inputs == {"input": "hidden"}
    assert stash.secret == {"input"}
    assert recording.hooks[stash.hooks["before_create"][0]].callback is ignore
    assert recording.exports == {"value": "hidden"}
    assert recording.secret_exports == {"value"}
    assert recording.outputs_registered_by == ["test:index:Part part"]
    assert recording.component_outputs == {"test:index:Part part": {"plain": 1, "hidden": "hidden"}}
    assert recording.secret_component_outputs == {"test:index:Part part hidden"}


def test_two_recordings_in_one_process_share_nothing() -> None:
    def parents() -> list[Any]:
        return [one.parent for one in recorder.record(Part).registrations]

    assert parents() == parents() == ["pulumi:pulumi:Stack pti-calendar-dev", "test:index:Part part"]

"""Runs a Pulumi program without an engine and keeps what it registered.

It replaces the engine behind Pulumi's SDK: every registration is answered with its own inputs and the few computed
outputs that the program reads, and secrets stay secret, as with the engine.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, Generic, TypeVar, TypeVarTuple
from unittest.mock import patch

import pulumi
from google.protobuf import empty_pb2, json_format, struct_pb2
from pulumi.runtime import mocks, rpc, run_in_stack
from pulumi.runtime import resource as sdk_resource
from pulumi.runtime import settings as runtime_settings
from pulumi.runtime import stack as sdk_stack
from pulumi.runtime.config import set_all_config
from pulumi.runtime.proto import resource_pb2, source_pb2

from settings import NAMESPACE

ProviderMock = Callable[[str, Mapping[str, Any]], tuple[str, Mapping[str, Any]]]
"""Returns a provider's response to a type and its inputs: an ID, and the outputs that aren't among the inputs."""

SECRET = {rpc._special_sig_key: rpc._special_secret_sig}
STACK = "pulumi:pulumi:Stack"

Result = TypeVar("Result")
Value = TypeVar("Value")
Arguments = TypeVarTuple("Arguments")


@dataclass(frozen=True)
class Registration:
    """A resource as the program registered it; other resources are referred to by `type name`."""

    type: str
    name: str
    parent: str
    inputs: Mapping[str, Any]
    """Plain values, secret or not."""

    secret: frozenset[str]
    """Paths of the secret inputs, for instance `uploads.0.content`."""

    protect: bool
    retain_on_delete: bool
    delete_before_replace: bool
    replace_on_changes: tuple[str, ...]
    ignore_changes: tuple[str, ...]
    provider: str
    """Reference of the explicit provider; empty for the default one."""

    dependencies: frozenset[str]
    aliases: tuple[str, ...]
    """Former URNs from the program's aliases."""

    hooks: Mapping[str, tuple[str, ...]]
    """Maps moments (`before_create`) to the names of the hooks."""

    def __str__(self) -> str:
        return f"{self.type} {self.name}"


@dataclass
class Recording(Generic[Result]):
    """A program's run."""

    result: Result
    registrations: list[Registration] = field(default_factory=list)
    outputs_registered_by: list[str] = field(default_factory=list)
    """The resources that registered outputs, once per registration, without the stack."""

    component_outputs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """The registered outputs, as plain values."""

    secret_component_outputs: frozenset[str] = frozenset()
    """Resource and path of each secret one."""

    exports: Mapping[str, Any] = field(default_factory=dict)
    """The stack's outputs, as plain values."""

    secret_exports: frozenset[str] = frozenset()
    """Paths of the secret ones, for instance `credentials.redis`."""

    hooks: dict[str, pulumi.ResourceHook | pulumi.ErrorHook] = field(default_factory=dict)
    log: list[str] = field(default_factory=list)
    """Messages to the user, as `WARNING message`."""

    debug_log: list[str] = field(default_factory=list)
    """Messages of the level DEBUG, most of them from Pulumi. `--debug`, `--json` and an event log show them."""

    def of_type(self, type_: str) -> list[Registration]:
        """Return every registration whose type token ends in `:type_`, by name."""
        found = [one for one in self.registrations if one.type.endswith(f":{type_}")]
        return sorted(found, key=lambda one: one.name)

    def get(self, type_: str, name: str) -> Registration:
        """Return the registration of that type and name; if there is none, the error lists the existing names."""
        named = {one.name: one for one in self.of_type(type_)}
        if name not in named:
            raise LookupError(f"no {type_} {name!r}; there are {sorted(named)}")
        return named[name]


def default_provider_mock(type_: str, inputs: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    """Return IDs that name the resource."""
    return f"id-of-{inputs.get('name', type_)}", _computed_outputs(type_, inputs)


def record(
    program: Callable[[], Result],
    *,
    mock: ProviderMock = default_provider_mock,
    raw: Mapping[str, str] | None = None,
    secret: Sequence[str] = (),
    stack: str = "dev",
    preview: bool = False,
) -> Recording[Result]:
    """Run a program in a new context.

    Args:
        program: declares resources; it exports outputs whose values are needed.
        mock: answers for the providers.
        raw: the stack's configuration as Pulumi passes it.
        secret: the keys of `raw` that are encrypted.
        stack: its name.
        preview: whether the program runs as in a preview.

    Raises:
        Exception: any exception of the program.
    """
    return contextvars.copy_context().run(_record, program, mock, dict(raw or {}), list(secret), stack, preview)


def _record(
    program: Callable[[], Result], mock: ProviderMock, raw: dict[str, str], secret: list[str], stack: str, preview: bool
) -> Recording[Result]:
    set_all_config(raw, secret)
    monitor, messages = _Monitor(mock), _MessageCollector()
    features = monitor.GetDeploymentInfo(None).supportedFeatures
    runtime_settings.configure(
        mocks.MockSettings(
            monitor=monitor,
            monitor_features=set(features),
            engine=mocks.MockEngine(messages),
            project=NAMESPACE,
            stack=stack,
            dry_run=preview,
            outputs=set(),
            # Otherwise the program would serve hooks to the engine over the network.
            callbacks=monitor,
        )
    )
    # The root of an earlier run in this context would become the parent of this run's resources.
    runtime_settings.ROOT.set(None)
    results: list[Result] = []
    with _without_stack_traces(), _waiting_for_all_outputs(), closing(_LoopWithoutThreads()) as loop:
        loop.run(run_in_stack(lambda: results.append(program())))
    return Recording(
        result=results[0],
        registrations=monitor.registrations,
        outputs_registered_by=monitor.outputs_registered_by,
        component_outputs=monitor.component_outputs,
        secret_component_outputs=frozenset(monitor.secret_component_outputs),
        exports=monitor.exports,
        secret_exports=frozenset(monitor.secret_exports),
        hooks=monitor.hooks,
        log=messages.lines,
        debug_log=messages.debug_lines,
    )


class _LoopWithoutThreads(asyncio.SelectorEventLoop):
    """Answers each registration at once. The SDK waits for the engine's responses in threads; here, switching between
    threads would take a fifth of a run."""

    def run(self, main: Coroutine[Any, Any, None]) -> None:
        """Run the coroutine.

        `asyncio.run` would also search for unfinished tasks after a success. There are none, and the search takes
        longer with each former run in the process.
        """
        try:
            self.run_until_complete(main)
        except BaseException:
            if unfinished := asyncio.all_tasks(self):
                for task in unfinished:
                    task.cancel()
                self.run_until_complete(asyncio.gather(*unfinished, return_exceptions=True))
            raise

    def run_in_executor(
        self, executor: Executor | None, func: Callable[[*Arguments], Value], *args: *Arguments
    ) -> asyncio.Future[Value]:
        """Call the function instead of handing it to a thread."""
        response: asyncio.Future[Value] = self.create_future()
        try:
            response.set_result(func(*args))
        except Exception as error:
            response.set_exception(error)
        return response


@contextmanager
def _without_stack_traces() -> Iterator[None]:
    """Don't look up the line that declares each resource: this takes a fifth of a run, and a recording has no use for
    it."""
    original = sdk_resource._get_stack_trace
    sdk_resource._get_stack_trace = source_pb2.StackTrace
    try:
        yield
    finally:
        sdk_resource._get_stack_trace = original


@contextmanager
def _waiting_for_all_outputs() -> Iterator[None]:
    """Wait for all outputs together, or until one fails. The SDK waits until any one is complete, and registers with
    all the others each time, which takes a third of a run."""

    async def wait(outputs: Sequence[asyncio.Task[Any]], **_: Any) -> tuple[set[Any], set[Any]]:
        return await asyncio.wait(outputs, return_when=asyncio.FIRST_EXCEPTION)

    with patch.object(sdk_stack, "asyncio", SimpleNamespace(**vars(asyncio) | {"wait": wait})):
        yield


class _Monitor(mocks.MockMonitor):
    """The engine's side of the registrations."""

    def __init__(self, mock: ProviderMock) -> None:
        super().__init__(_ForbiddenCalls())
        self._mock = mock
        self.registrations: list[Registration] = []
        self.outputs_registered_by: list[str] = []
        self.component_outputs: dict[str, Any] = {}
        self.secret_component_outputs: set[str] = set()
        self.exports: dict[str, Any] = {}
        self.secret_exports: set[str] = set()
        self.hooks: dict[str, pulumi.ResourceHook | pulumi.ErrorHook] = {}

    def RegisterResource(self, request: Any) -> Any:
        urn = self.make_urn(request.parent, request.type, request.name)
        if request.type == STACK:
            return resource_pb2.RegisterResourceResponse(urn=urn)
        sent = json_format.MessageToDict(request.object)
        inputs, secret = _unwrap_secrets(sent)
        self.registrations.append(_registration(request, inputs, secret))
        identity, computed = self._mock(request.type, inputs) if request.custom else ("", {})
        state = sent | {
            name: _wrap_secret(value) if name in request.additionalSecretOutputs else value
            for name, value in computed.items()
        }
        response = struct_pb2.Struct()
        response.update(state)
        return resource_pb2.RegisterResourceResponse(urn=urn, id=identity, object=response)

    def RegisterResourceOutputs(self, request: Any) -> Any:
        if f"{STACK}::" in request.urn:
            self.exports, self.secret_exports = _unwrap_secrets(json_format.MessageToDict(request.outputs))
        else:
            resource = _reference(request.urn)
            self.outputs_registered_by.append(resource)
            self.component_outputs[resource], secret = _unwrap_secrets(json_format.MessageToDict(request.outputs))
            self.secret_component_outputs |= {f"{resource} {path}" for path in secret}
        return empty_pb2.Empty()

    def register_resource_hook(self, hook: pulumi.ResourceHook) -> None:
        """Record a hook instead of serving it."""
        self.hooks[hook.name] = hook

    def register_error_hook(self, hook: pulumi.ErrorHook) -> None:
        """Record a hook instead of serving it."""
        self.hooks[hook.name] = hook


class _ForbiddenCalls(mocks.Mocks):
    """Refuses provider functions, because a preview must not need an engine."""

    def call(self, args: mocks.MockCallArgs) -> Any:
        raise AssertionError(f"the program calls the provider's function {args.token}")

    def new_resource(self, args: mocks.MockResourceArgs) -> Any:
        raise AssertionError(f"the program reads the existing resource {args.typ} {args.name}")


class _MessageCollector(logging.Logger):
    """Collects what the program logs. It creates no log records, which look up the caller of each message."""

    def __init__(self) -> None:
        super().__init__("recorded", logging.DEBUG)
        self.lines: list[str] = []
        self.debug_lines: list[str] = []

    def _log(self, level: int, msg: object, args: Any, *_: Any, **__: Any) -> None:
        if level <= logging.DEBUG:
            self.debug_lines.append(str(msg))
        else:
            self.lines.append(f"{logging.getLevelName(level)} {msg}")


def _registration(request: Any, inputs: dict[str, Any], secret: set[str]) -> Registration:
    moments = ("before_create", "after_create", "before_update", "after_update", "before_delete", "after_delete")
    hooks = {moment: tuple(getattr(request.hooks, moment)) for moment in (*moments, "on_error")}
    return Registration(
        type=request.type,
        name=request.name,
        parent=_reference(request.parent),
        inputs=inputs,
        secret=frozenset(secret),
        protect=request.protect,
        retain_on_delete=request.retainOnDelete,
        delete_before_replace=request.deleteBeforeReplace,
        replace_on_changes=tuple(request.replaceOnChanges),
        ignore_changes=tuple(request.ignoreChanges),
        provider=_reference(request.provider.rpartition("::")[0]) if request.provider else "",
        dependencies=frozenset(map(_reference, request.dependencies)),
        aliases=tuple(alias.urn for alias in request.aliases),
        hooks={moment: names for moment, names in hooks.items() if names},
    )


def _reference(urn: str) -> str:
    """Return a URN as `type name`."""
    if not urn:
        return ""
    types, name = urn.split("::")[-2:]
    return f"{types.rpartition('$')[2]} {name}"


def _computed_outputs(type_: str, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Return outputs that only the provider knows."""
    if type_.endswith(":RemoteImage"):
        return {"imageId": f"sha256:{inputs['name']}"}
    if type_.endswith(":RandomPassword"):
        return {"result": "generated"}
    if type_.endswith(":Stash"):
        return {"output": inputs.get("input")}
    return {}


def _wrap_secret(value: Any) -> dict[str, Any]:
    return {**SECRET, "value": value}


def _unwrap_secrets(value: Any, path: str = "") -> tuple[Any, set[str]]:
    """Return a value without secret marks, and the paths where they were."""
    if isinstance(value, dict) and value.get(rpc._special_sig_key) == rpc._special_secret_sig:
        inner, secret = _unwrap_secrets(value["value"], path)
        return inner, {path, *secret}
    if isinstance(value, dict | list):
        # The order of a protobuf message's maps differs between processes.
        parts = sorted(value.items()) if isinstance(value, dict) else enumerate(value)
        found = {key: _unwrap_secrets(one, f"{path}.{key}".lstrip(".")) for key, one in parts}
        secret = {where for _, inside in found.values() for where in inside}
        plain = {key: one for key, (one, _) in found.items()}
        return (plain if isinstance(value, dict) else list(plain.values())), secret
    if isinstance(value, float) and value.is_integer():
        return int(value), set()
    return value, set()

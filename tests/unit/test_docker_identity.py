"""Which state a container belongs to, and which engine a state belongs to."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Mapping
from typing import Any

import pulumi
import pytest

from backends.docker.engine import CREATOR_LABEL, STACK_LABEL, STATE_LABEL, Engine, EngineError
from backends.docker.identity import StackIdentity
from backends.docker.ownership import Ownership
from backends.threads import Threads
from operations import containers, stack
from operations.destroy import destroy
from operations.project import OperationError
from operations.wipe import wipe
from recording.recorder import Recording, record
from workloads import WorkloadError

HOST = "unix:///engine.sock"
RECORDED = {"state": "ours", "engine": "ID", "engineName": "laptop", "createdBy": "ana@laptop:/work"}
STACK = {STACK_LABEL: "dev"}
LABELS_OF_OWN_STATE = STACK | {STATE_LABEL: "ours", CREATOR_LABEL: "ana@laptop:/work"}
LABELS_OF_OTHER_STATE = STACK | {STATE_LABEL: "theirs", CREATOR_LABEL: "ben@laptop:/other"}


class KnownEngine(Engine):
    """An engine with an id and the containers with these labels."""

    def __init__(self, *containers: Mapping[str, str], engine_id: str = "ID") -> None:
        self._known = containers
        self._id = engine_id

    def identity(self) -> tuple[str, str]:
        return self._id, "laptop"

    def labels_of_containers(self, stack: str) -> list[dict[str, str]]:
        return [dict(one) for one in self._known]


class NoEngine(Engine):
    """An engine that doesn't respond."""

    def run(self, *arguments: str, timeout_s: int = 60) -> str:
        raise EngineError("no answer")


def recorded(engine: Engine, state: Mapping[str, Any] | None = None, *, preview: bool = False) -> Recording[None]:
    """Create a container's labels and the provider's host, after the check of the containers.

    `state` is the record in the state; None if there is none yet.
    """

    def program() -> None:
        identity = StackIdentity(engine, Threads(), "dev")
        identity.begin()
        pulumi.export("host", identity.checked(HOST))
        pulumi.export("labels", identity.with_labels(STACK))
        pulumi.export("refused", pulumi.Output.from_input(identity.refuse_other_state()))

    def mock(type_: str, inputs: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
        return "id", {"output": state or inputs.get("input")}

    return record(program, mock=mock, preview=preview)


def test_a_new_stack_records_its_engine_and_labels_its_containers() -> None:
    made = recorded(KnownEngine())
    values = made.get("Stash", "stack-identity").inputs["input"]
    assert (values["engine"], values["engineName"]) == ("ID", "laptop")
    assert made.exports["labels"] == STACK | {STATE_LABEL: values["state"], CREATOR_LABEL: values["createdBy"]}


def test_two_new_stacks_have_different_ids() -> None:
    first, second = (recorded(KnownEngine()).exports["labels"][STATE_LABEL] for _ in range(2))
    assert first != second


def test_the_recorded_values_are_kept() -> None:
    made = recorded(KnownEngine(LABELS_OF_OWN_STATE), RECORDED)
    assert made.exports["labels"] == LABELS_OF_OWN_STATE
    assert made.exports["host"] == HOST
    assert made.get("Stash", "stack-identity").ignore_changes == ("input",)


def test_containers_that_are_older_than_the_record_keep_their_labels() -> None:
    """An additional label would replace each container."""
    made = recorded(KnownEngine(STACK))
    assert made.exports["labels"] == STACK
    assert made.exports["host"] == HOST


@pytest.mark.parametrize("state", [None, RECORDED])
@pytest.mark.parametrize("preview", [False, True])
def test_containers_of_another_state_are_refused_with_their_creator(
    state: Mapping[str, Any] | None, preview: bool
) -> None:
    with pytest.raises(WorkloadError, match=r"(?s)another Pulumi state, created by ben@laptop:/other.*make take-over"):
        recorded(KnownEngine(LABELS_OF_OTHER_STATE), state, preview=preview)


def test_a_container_that_another_state_creates_at_the_same_time_is_refused() -> None:
    """The container isn't in the list of containers, which is read only once."""

    class LaterContainer(KnownEngine):
        def container(self, name: str) -> dict[str, Any] | None:
            return {"Config": {"Labels": LABELS_OF_OTHER_STATE}}

    def program() -> None:
        engine, threads = LaterContainer(), Threads()
        identity = StackIdentity(engine, threads, "dev")
        identity.begin()
        refusal = Ownership(engine, threads, "dev", identity).refuse_foreign("container", "pti-redis-dev")
        pulumi.export("refused", pulumi.Output.from_input(refusal))

    with pytest.raises(WorkloadError, match="another Pulumi state, created by ben@laptop:/other"):
        record(program, mock=lambda type_, inputs: ("id", {"output": inputs.get("input")}))


def test_another_engine_is_refused_with_the_recorded_one() -> None:
    with pytest.raises(WorkloadError, match=r"(?s)on another Docker engine: 'laptop', created by ana@.*state delete"):
        recorded(KnownEngine(engine_id="OTHER"), RECORDED)


def test_a_preview_without_an_engine_passes() -> None:
    assert recorded(NoEngine(), RECORDED, preview=True).exports["host"] == HOST


@pytest.mark.filterwarnings(
    "error:coroutine .* was never awaited:RuntimeWarning",
    # The coroutine is found when it is collected, so the warning arrives as an ignored exception.
    "error:(?s).*was never awaited:pytest.PytestUnraisableExceptionWarning",
)
@pytest.mark.parametrize("steps", range(5))
def test_a_program_that_fails_before_the_record_leaves_no_unawaited_coroutine(
    steps: int, request: pytest.FixtureRequest
) -> None:
    """`steps` of the event loop pass before the record is created."""
    gc.freeze()  # Exclude the other tests' recordings from the collection below.
    request.addfinalizer(gc.unfreeze)

    async def fail() -> None:
        raise WorkloadError("another resource fails")

    async def create(identity: StackIdentity) -> None:
        for _ in range(steps):
            await asyncio.sleep(0)
        identity.with_labels(STACK)
        identity.checked(HOST)

    def program() -> None:
        identity = StackIdentity(KnownEngine(), Threads(), "dev")
        identity.begin()
        pulumi.Stash("failing", input=asyncio.ensure_future(fail()))
        pulumi.export("created", asyncio.ensure_future(create(identity)))

    with pytest.raises(WorkloadError, match="another resource fails"):
        record(program)
    gc.collect()


@pytest.mark.parametrize(
    ("engine", "reason"),
    [("ID", None), ("OTHER", "is on another Docker engine: 'laptop', created by ana@laptop:/work")],
)
def test_a_destroy_is_refused_on_another_engine(
    engine: str, reason: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The destroy would empty the state while the containers keep running on the other engine."""
    urn = "urn:pulumi:dev::pti-calendar::pulumi:index:Stash::stack-identity"
    monkeypatch.setattr(
        stack, "recorded_state", lambda _: {"resources": [{"urn": urn, "outputs": {"output": RECORDED}}]}
    )
    monkeypatch.setattr(containers, "_engine", lambda _: KnownEngine(engine_id=engine))
    monkeypatch.setattr(containers, "_docker", lambda *_: "")
    monkeypatch.setattr("builtins.input", lambda _: "dev")
    monkeypatch.setattr(stack, "_run_attached", lambda _: 0)
    if reason is None:
        assert destroy("dev") == 0
    else:
        for operation in (destroy, wipe):
            with pytest.raises(OperationError, match=reason):
                operation("dev")

"""Data survives the removal of the stack, and of the state with its passwords."""

from __future__ import annotations

from tests.engine import docker_engine
from tests.engine.pulumi_stack import PulumiStack
from tests.engine.stores import Stores
from tests.failures import FailureRecord


def test_destroy_then_up_finds_the_data(stores_stack: PulumiStack, failure_record: FailureRecord) -> None:
    effect = "the stack is gone until the next update, which uses the retained volumes with new passwords"
    failure_record.begin("The stack is destroyed", on="Docker", effect=effect)
    before = stores_stack.outputs()
    Stores(before).write("before-destroy")
    volumes = docker_engine.persistent_volumes(stores_stack.name)
    assert len(volumes) == 3

    stores_stack.destroy().succeeded()
    assert docker_engine.containers(stores_stack.name) == []
    assert docker_engine.networks(stores_stack.name) == []
    assert docker_engine.persistent_volumes(stores_stack.name) == volumes
    with failure_record.measure_recovery():
        stores_stack.up().succeeded()

    after = stores_stack.outputs()
    # A destroy also removes generated passwords from the state: the retained volume gets new ones.
    assert after.credentials.postgres["postgres"] != before.credentials.postgres["postgres"]
    Stores(after).check("before-destroy")
    failure_record.set_lost("nothing: rows, keys and events still exist")


def test_a_lost_state_loses_no_data(stores_stack: PulumiStack, failure_record: FailureRecord) -> None:
    """The stack keeps running while its state is lost: after a take-over, a new state adopts the volumes, with new
    passwords."""
    effect = "updates are refused until `make take-over`; the next one sets new passwords"
    failure_record.begin("Pulumi's state is lost", on="Docker", effect=effect)
    before = stores_stack.outputs()
    Stores(before).write("before-the-loss")

    stores_stack.lose_state()
    refused = stores_stack.up().failed()
    assert f"make take-over STACK={stores_stack.name}" in refused.output
    with failure_record.measure_recovery():
        docker_engine.remove_containers_and_networks(stores_stack.name)
        stores_stack.up().succeeded()

    after = stores_stack.outputs()
    for role, password in before.credentials.postgres.items():
        assert after.credentials.postgres[role] != password
    Stores(after).check("before-the-loss")
    failure_record.set_lost("the old passwords; rows, keys and events still exist")
    for service, database in after.postgres.databases.items():
        for role in (database.app_role, database.migrator_role):
            with Stores(after).connect(role, database.name) as session:
                assert session.execute("SELECT current_database()").fetchone() == (database.name,), service
    stores_stack.preview("--expect-no-changes").succeeded()

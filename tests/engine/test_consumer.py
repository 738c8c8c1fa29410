"""Another team's program reads the stack's outputs through the contract."""

from __future__ import annotations

import json

from tests.engine.conftest import MakeStack
from tests.engine.pulumi_stack import PulumiStack
from tests.engine.small_programs import CONSUMER


def test_a_stack_reference_gives_typed_outputs_and_keeps_secrets(
    stores_stack: PulumiStack, make_stack: MakeStack
) -> None:
    producer = stores_stack.outputs()
    password = producer.credentials.postgres["postgres"]
    reference = f"organization/pti-calendar/{stores_stack.name}"
    consumer = make_stack(program=CONSUMER, configuration={"producer": reference}, state=stores_stack.state)

    up = consumer.up().succeeded()

    assert json.loads(consumer.shown_outputs()) == {
        "password": "[secret]",
        "redis_port": "[secret]",  # The program reads it from all outputs at once, which include credentials.
        "postgres_port": producer.postgres.port,
        "user_database": "pti_user",
        "kafka": producer.kafka.bootstrap_servers,
    }
    revealed = json.loads(consumer.shown_outputs("--show-secrets"))
    assert revealed["password"] == password
    assert revealed["redis_port"] == producer.redis.port
    for shown in (up.output, up.events(), json.dumps(consumer.export())):
        assert password not in shown

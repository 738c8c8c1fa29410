"""Another team's program, which reads a stack's outputs through the contract."""

from __future__ import annotations

import pulumi

from contract import StackOutputs
from contract.outputs import KafkaOutput, PostgresOutput

stack = pulumi.StackReference(pulumi.Config().require("producer"))

# Read all outputs at once. The result is secret as a whole, because one of the outputs is secret.
outputs = stack.outputs.apply(StackOutputs.parse)
pulumi.export("password", outputs.apply(lambda found: found.credentials.postgres[found.postgres.admin_role]))
pulumi.export("redis_port", outputs.apply(lambda found: found.redis.port))

# Read single public outputs. The results aren't secret.
postgres = stack.get_output("postgres").apply(PostgresOutput.parse)
pulumi.export("postgres_port", postgres.apply(lambda found: found.port))
pulumi.export("user_database", postgres.apply(lambda found: found.databases["user"].name))
pulumi.export("kafka", stack.get_output("kafka").apply(KafkaOutput.parse).apply(lambda found: found.bootstrap_servers))

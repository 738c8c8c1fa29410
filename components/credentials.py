"""The secret values of the stack: supplied, well known, or generated."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import pulumi

from settings.credential import Credential
from settings.load import supplied

TYPE = "pti-calendar:index:Credentials"
GENERATED_LENGTH = 32
"""Letters and digits, 190 bits: no character that a URL, a shell or a configuration file would interpret."""


class Credentials(pulumi.ComponentResource):
    """Every credential the stack uses, as a secret output.

    Args:
        required: the credentials of the stack; others can't be requested.
        source: the source of values that the configuration doesn't supply.
        protect: whether generated values are protected from deletion. A new value still works with retained data,
            because the stores get their passwords at every start.
    """

    def __init__(
        self,
        name: str,
        *,
        required: Iterable[Credential],
        source: Literal["generated", "well-known"],
        protect: bool,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__(TYPE, name, None, opts)
        self._source = source
        self._protect = protect
        self._values = {credential.key: self._value(credential) for credential in required}
        self.register_outputs({"names": sorted(self._values)})

    def __getitem__(self, credential: Credential) -> pulumi.Output[str]:
        value = self.find(credential)
        if value is None:
            raise KeyError(f"{credential.key} has no value in this stack: {credential.purpose} requires none")
        return value

    def has(self, credential: Credential) -> bool:
        """Return whether the stack uses a credential."""
        return credential.key in self._values

    def find(self, credential: Credential) -> pulumi.Output[str] | None:
        """Return the value; None if the stack uses no password (a Redis without one, on a laptop)."""
        return self._values[credential.key]

    def _value(self, credential: Credential) -> pulumi.Output[str] | None:
        value = supplied(credential)
        if value is not None:
            return value
        if self._source == "well-known":
            return None if credential.well_known is None else pulumi.Output.secret(credential.well_known)
        # Imported here, because a stack with well-known credentials doesn't need the provider.
        import pulumi_random as random

        return random.RandomPassword(
            credential.key,
            length=GENERATED_LENGTH,
            special=False,
            opts=pulumi.ResourceOptions(parent=self, protect=self._protect),
        ).result

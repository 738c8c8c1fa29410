"""Remove the containers of a stack that belong to another Pulumi state. No update does so."""

from __future__ import annotations

from capabilities import Capability, offers
from operations import containers
from operations.configuration import read_configuration
from operations.confirmation import require_typed_name
from operations.project import OperationError


def take_over(stack: str) -> int:
    """Remove the stack's containers and networks after the user has typed its name.

    Then this state can create its own. Volumes stay: the next update attaches them.

    Raises:
        OperationError: the stack isn't on Docker or has no containers, or the user didn't confirm; nothing was changed.
    """
    settings, _ = read_configuration(stack)
    if not offers(settings.backend.kind, Capability.HOST_PORTS):
        raise OperationError(f"Stack '{stack}' isn't on Docker: there is nothing to take over.")
    owners = containers.owners(stack)
    if not owners:
        raise OperationError(f"Stack '{stack}' has no containers {containers.location(stack)}: make up STACK={stack}")
    print(f"This stops and removes the containers of stack '{stack}' {containers.location(stack)}; its data stays:")
    for owner, listed in owners.items():
        print(f"  {len(listed)} created by {owner}")
    require_typed_name(stack)
    # Remove only the listed ones: another `make take-over` and its update may have come first.
    containers.remove(stack, {one for listed in owners.values() for one in listed})
    print(f"Removed. Create your own: make up STACK={stack}")
    return 0

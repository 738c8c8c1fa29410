"""The verb that upgrades a store to another major version."""

from __future__ import annotations

import argparse

from operations.verbs.verb import Verbs, add_verb


def add_upgrades(verbs: Verbs[argparse.ArgumentParser]) -> None:
    """Add the verb."""
    parser = add_verb(verbs, "upgrade", "upgrade PostgreSQL to another major version", _upgrade)
    parser.add_argument("store", choices=("postgres",))
    action = parser.add_mutually_exclusive_group(required=True)
    action.add_argument("--image", help="upgrade to this image, for instance postgres:18.6")
    action.add_argument("--cancel", action="store_true", help="let the old server serve again")
    action.add_argument("--delete-old", action="store_true", help="delete the data of other major versions")
    parser.add_argument("--yes", action="store_true", help="don't ask")


def _upgrade(arguments: argparse.Namespace) -> int:
    from operations import upgrades

    if arguments.cancel:
        return upgrades.cancel(arguments.stack)
    if arguments.delete_old:
        return upgrades.delete_old(arguments.stack, confirmed=arguments.yes)
    return upgrades.upgrade(arguments.stack, arguments.image, confirmed=arguments.yes)

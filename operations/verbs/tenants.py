"""Verbs about tenants."""

from __future__ import annotations

import argparse
from pathlib import Path

from operations.verbs.verb import Verbs, add_verb


def add_tenants(verbs: Verbs[argparse.ArgumentParser]) -> None:
    """Add the verb `tenants` with its actions."""
    text = "audit the isolation of tenants; export, erase or restore one tenant's rows"
    actions = verbs.add_parser("tenants", help=text).add_subparsers(dest="action", required=True)
    audit = add_verb(actions, "audit", "list what could show one tenant rows of another, in every database", _audit)
    audit.add_argument("--json", action="store_true", help="print a JSON array")
    export = add_verb(actions, "export", "write all rows of a tenant into files, with a manifest", _export)
    _add_tenant(export)
    export.add_argument("--to", type=Path, required=True, dest="directory", help="a new or empty directory")
    _add_tenant(add_verb(actions, "erase", "delete all rows of a tenant, after a typed confirmation", _erase))
    text = "replace a tenant's rows by those of a backup, after a typed confirmation"
    restore = add_verb(actions, "restore", text, _restore)
    _add_tenant(restore)
    restore.add_argument("--from", required=True, dest="backup", help="name of the backup")
    restore.add_argument("--database", help="for instance pti_user (default: every one)")


def _add_tenant(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("tenant", help="the tenant's id, a UUID")


def _audit(arguments: argparse.Namespace) -> int:
    from operations import tenants

    return tenants.audit(arguments.stack, as_json=arguments.json)


def _export(arguments: argparse.Namespace) -> int:
    from operations import tenants

    return tenants.export(arguments.stack, arguments.tenant, arguments.directory)


def _erase(arguments: argparse.Namespace) -> int:
    from operations import tenants

    return tenants.erase(arguments.stack, arguments.tenant)


def _restore(arguments: argparse.Namespace) -> int:
    from operations import tenants

    return tenants.restore(arguments.stack, arguments.tenant, arguments.backup, arguments.database)

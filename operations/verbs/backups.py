"""Verbs that back up, copy and restore PostgreSQL's databases."""

from __future__ import annotations

import argparse

from operations.project import OperationError
from operations.verbs.verb import Verbs, add_databases, add_verb


def add_backups(verbs: Verbs[argparse.ArgumentParser]) -> None:
    """Add the verbs."""
    backup = add_verb(verbs, "backup", "back up the databases now", _backup)
    backup.add_argument("--base", action="store_true", help="take a base backup for recoveries instead")
    text = "list or verify the backups, prove that the newest one can be restored, or fetch an off-site copy"
    backups = add_verb(verbs, "backups", text, _backups)
    backups.add_argument("action", choices=("list", "verify", "drill", "fetch"))
    backups.add_argument("backup", nargs="?", help="the one to fetch; verify only this one")
    backups.add_argument("--json", action="store_true", help="list as JSON")
    backups.add_argument("--offsite", action="store_true", help="list the off-site copies instead")
    text = "copy the backups off the machine now, or show the password of the copies"
    offsite = add_verb(verbs, "offsite", text, _offsite)
    offsite.add_argument("action", nargs="?", choices=("copy", "password"), default="copy")
    points = add_verb(verbs, "points", "list the times to which databases can be recovered", _points)
    how = points.add_mutually_exclusive_group()
    how.add_argument("--json", action="store_true", help="list as JSON")
    how.add_argument("--verify", action="store_true", help="also read all files and changes")
    _add_recover(verbs)
    _add_restore(verbs)


def _add_recover(verbs: Verbs[argparse.ArgumentParser]) -> None:
    text = "replace databases by their state at a point in time, after a typed confirmation"
    parser = add_verb(verbs, "recover", text, _recover)
    parser.add_argument(
        "--to", required=True, metavar="TIME", help="in UTC, for instance 2026-11-29T12:34:56Z, or latest"
    )
    add_databases(parser, "every database")
    parser.add_argument("--yes", action="store_true", help="don't ask")


def _add_restore(verbs: Verbs[argparse.ArgumentParser]) -> None:
    parser = add_verb(verbs, "restore", "replace databases by those of a backup, after a typed confirmation", _restore)
    what = add_databases(parser, "every database of the backup")
    what.add_argument("--drop-replaced", action="store_true", help="drop the databases that were replaced")
    parser.add_argument("--from", dest="backup", help="name of the backup (default: the newest)")
    parser.add_argument("--from-offsite", metavar="NAME", help="fetch this off-site copy first")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--yes", action="store_true", help="don't ask; requires --from")
    how.add_argument("--rehearse", action="store_true", help="restore beside the databases, compare, drop again")


def _backup(arguments: argparse.Namespace) -> int:
    from operations import backups, point_in_time

    if arguments.base:
        return point_in_time.take_base_backup(arguments.stack)
    return backups.backup(arguments.stack)


def _backups(arguments: argparse.Namespace) -> int:
    from operations import backups

    if arguments.offsite and arguments.action in ("verify", "drill"):
        raise OperationError("--offsite belongs to `backups list`. Each run of the copy checks the copies.")
    match arguments.action:
        case "list" if arguments.offsite:
            from operations import offsite

            return offsite.list_copies(arguments.stack, as_json=arguments.json)
        case "list":
            return backups.list_backups(arguments.stack, as_json=arguments.json)
        case "fetch":
            from operations import offsite

            if not arguments.backup:
                raise OperationError("Name the backup: python -m operations backups list --offsite")
            return offsite.fetch(arguments.stack, arguments.backup)
        case "drill":
            return backups.drill(arguments.stack)
        case _:
            return backups.verify(arguments.stack, arguments.backup)


def _offsite(arguments: argparse.Namespace) -> int:
    from operations import offsite

    if arguments.action == "password":
        return offsite.show_password(arguments.stack)
    return offsite.copy(arguments.stack)


def _points(arguments: argparse.Namespace) -> int:
    from operations import point_in_time

    return point_in_time.list_points(arguments.stack, as_json=arguments.json, verify=arguments.verify)


def _recover(arguments: argparse.Namespace) -> int:
    from operations import point_in_time

    return point_in_time.recover(arguments.stack, arguments.to, arguments.database, confirmed=arguments.yes)


def _restore(arguments: argparse.Namespace) -> int:
    from operations import backups

    if arguments.from_offsite:
        from operations import offsite

        if arguments.backup or arguments.drop_replaced:
            raise OperationError("--from-offsite names the backup: it excludes --from and --drop-replaced.")
        if code := offsite.fetch(arguments.stack, arguments.from_offsite):
            return code
    backup = arguments.from_offsite or arguments.backup
    if arguments.drop_replaced:
        return backups.drop_replaced(arguments.stack, confirmed=arguments.yes)
    if arguments.rehearse:
        return backups.rehearse(arguments.stack, arguments.database, backup)
    return backups.restore(arguments.stack, arguments.database, backup, confirmed=arguments.yes)

"""`python -m operations`: the command line behind the Makefile's targets."""

from __future__ import annotations

import argparse
import gc
import sys
from pathlib import Path

from operations.project import OperationError


def main() -> int:
    """Run one operation. Return 1 after one error message if it fails."""
    arguments = _parsed(sys.argv[1:])
    # A command keeps nearly all that it creates, and ends: collecting garbage takes a tenth of the time of `render`.
    gc.set_threshold(100_000)
    try:
        return _run(arguments)
    except OperationError as error:
        from settings.base import for_stack

        print(for_stack(str(error), getattr(arguments, "stack", None)), file=sys.stderr)
        return 1


def _parsed(words: list[str]) -> argparse.Namespace:
    """Return the arguments; `words` of it is what follows `--`, which argparse wouldn't leave unchanged."""
    parser = _parser()
    end = words.index("--") if "--" in words else len(words)
    arguments = parser.parse_args(words[:end])
    arguments.words = words[end + 1 :]
    if end < len(words) and arguments.command != "run":
        parser.error(f"'{arguments.command}' takes no command after '--'")
    return arguments


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m operations", description="Operates a stack of PTI Calendar.")
    commands = parser.add_subparsers(dest="command", required=True)
    helps = {
        "up": "bring the stack up",
        "preview": "show what a new stack would create, without secrets, state or cluster",
        "doctor": "find out what is wrong with the stack, and what to do",
        "status": "show the stack's containers or pods",
        "logs": "follow the logs of a workload",
        "run": "run a scheduled task now, or another command in its container",
        "backup": "back up the databases now",
        "backups": "list or verify the backups, prove that the newest one can be restored, or fetch an off-site copy",
        "offsite": "copy the backups off the machine now, or show the password of the copies",
        "points": "list the times to which databases can be recovered",
        "recover": "replace databases by their state at a point in time, after a typed confirmation",
        "restore": "replace databases by those of a backup, after a typed confirmation",
        "env": "write the environment file of a service run from an editor",
        "beside": "write the configuration of a second stack like dev, on free ports",
        "take-over": "remove the containers of another state's stack with this name, after a typed confirmation",
        "destroy": "destroy the stack and keep its data, after a typed confirmation",
        "wipe": "destroy the stack and delete its data except for the backups, after a typed confirmation",
        "render": "write the stack as a Compose file or as Kubernetes manifests, without Pulumi and without Docker",
    }
    for name, text in helps.items():
        command = commands.add_parser(name, help=text)
        command.add_argument("--stack", default="dev", help="the stack's name (default: %(default)s)")
        if name == "doctor":
            command.epilog = (
                "Exit codes: 0 if nothing is broken, though there may be warnings; 1 if there is an error; 2 if "
                "there is none, but a check couldn't run."
            )
            command.add_argument("--json", action="store_true", help="print as JSON, with the same exit codes")
        if name == "logs":
            command.add_argument("workload", help="for instance postgres")
            command.add_argument("--follow", action="store_true", help="follow until interrupted")
        if name == "run":
            command.usage = f"{command.prog} [--stack STACK] WORKLOAD [-- COMMAND ...]"
            command.epilog = (
                "COMMAND runs instead of the task's own command, without its time limit. The exit code is that of the "
                "command. Ctrl-C ends the run."
            )
            command.add_argument("workload", metavar="WORKLOAD", help="the scheduled task, for instance backup")
        if name == "backups":
            command.add_argument("action", choices=("list", "verify", "drill", "fetch"))
            command.add_argument("backup", nargs="?", help="the one to fetch; verify only this one")
            command.add_argument("--json", action="store_true", help="list as JSON")
            command.add_argument("--offsite", action="store_true", help="list the off-site copies instead")
        if name == "backup":
            command.add_argument("--base", action="store_true", help="take a base backup for recoveries instead")
        if name == "points":
            how = command.add_mutually_exclusive_group()
            how.add_argument("--json", action="store_true", help="list as JSON")
            how.add_argument("--verify", action="store_true", help="also read all files and changes")
        if name == "recover":
            command.add_argument(
                "--to", required=True, metavar="TIME", help="in UTC, for instance 2026-11-29T12:34:56Z, or latest"
            )
            what = command.add_mutually_exclusive_group(required=True)
            what.add_argument("--database", help="for instance pti_user")
            what.add_argument("--all", action="store_true", help="every database")
            command.add_argument("--yes", action="store_true", help="don't ask")
        if name == "offsite":
            command.add_argument("action", nargs="?", choices=("copy", "password"), default="copy")
        if name == "restore":
            what = command.add_mutually_exclusive_group(required=True)
            what.add_argument("--database", help="for instance pti_user")
            what.add_argument("--all", action="store_true", help="every database of the backup")
            what.add_argument("--drop-replaced", action="store_true", help="drop the databases that were replaced")
            command.add_argument("--from", dest="backup", help="name of the backup (default: the newest)")
            command.add_argument("--from-offsite", metavar="NAME", help="fetch this off-site copy first")
            how = command.add_mutually_exclusive_group()
            how.add_argument("--yes", action="store_true", help="don't ask; requires --from")
            how.add_argument(
                "--rehearse", action="store_true", help="restore beside the databases, compare, drop again"
            )
        if name == "wipe":
            command.add_argument(
                "--no-last-backup", action="store_true", help="don't offer a backup of the data that is deleted"
            )
            command.add_argument("--delete-backups", action="store_true", help="delete the backups too")
        if name == "beside":
            command.add_argument("--like", dest="model", default="dev", help="the first stack (default: %(default)s)")
        if name == "env":
            command.add_argument("service", help="for instance user")
    _add_tenants(commands)
    _add_upgrade(commands)
    commands.add_parser("documents", help="regenerate the generated documents")
    return parser


def _add_tenants(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    text = "audit the isolation of tenants; export, erase or restore one tenant's rows"
    parser = commands.add_parser("tenants", help=text)
    actions = parser.add_subparsers(dest="action", required=True)
    helps = {
        "audit": "list what could show one tenant rows of another, in every database",
        "export": "write all rows of a tenant into files, with a manifest",
        "erase": "delete all rows of a tenant, after a typed confirmation",
        "restore": "replace a tenant's rows by those of a backup, after a typed confirmation",
    }
    for name, text in helps.items():
        action = actions.add_parser(name, help=text)
        action.add_argument("--stack", default="dev", help="the stack's name (default: %(default)s)")
        if name == "audit":
            action.add_argument("--json", action="store_true", help="print a JSON array")
        else:
            action.add_argument("tenant", help="the tenant's id, a UUID")
        if name == "export":
            action.add_argument("--to", type=Path, required=True, dest="directory", help="a new or empty directory")
        if name == "restore":
            action.add_argument("--from", required=True, dest="backup", help="name of the backup")
            action.add_argument("--database", help="for instance pti_user (default: every one)")


def _add_upgrade(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("upgrade", help="upgrade PostgreSQL to another major version")
    parser.add_argument("store", choices=("postgres",))
    parser.add_argument("--stack", default="dev", help="the stack's name (default: %(default)s)")
    action = parser.add_mutually_exclusive_group(required=True)
    action.add_argument("--image", help="upgrade to this image, for instance postgres:18.6")
    action.add_argument("--cancel", action="store_true", help="let the old server serve again")
    action.add_argument("--delete-old", action="store_true", help="delete the data of other major versions")
    parser.add_argument("--yes", action="store_true", help="don't ask")


def _run_upgrade(arguments: argparse.Namespace) -> int:
    from operations import upgrades

    if arguments.cancel:
        return upgrades.cancel(arguments.stack)
    if arguments.delete_old:
        return upgrades.delete_old(arguments.stack, confirmed=arguments.yes)
    return upgrades.upgrade(arguments.stack, arguments.image, confirmed=arguments.yes)


def _run_tenants(arguments: argparse.Namespace) -> int:
    from operations import tenants

    match arguments.action:
        case "audit":
            return tenants.audit(arguments.stack, as_json=arguments.json)
        case "export":
            return tenants.export(arguments.stack, arguments.tenant, arguments.directory)
        case "restore":
            return tenants.restore(arguments.stack, arguments.tenant, arguments.backup, arguments.database)
        case _:
            return tenants.erase(arguments.stack, arguments.tenant)


def _run(arguments: argparse.Namespace) -> int:
    # Each operation imports only the modules that it uses: `render` works without Docker, `status` without Pulumi.
    match arguments.command:
        case "up":
            from operations import stack

            return stack.up(arguments.stack)
        case "doctor":
            from operations.doctor.run import doctor

            return doctor(arguments.stack, as_json=arguments.json)
        case "status":
            from operations.runtimes import runtime_of

            runtime = runtime_of(arguments.stack)
            print(f"· stack '{arguments.stack}' {runtime.location(arguments.stack)}", flush=True)
            runtime.show_status(arguments.stack)
        case "logs":
            from operations.runtimes import runtime_of

            runtime = runtime_of(arguments.stack)
            return runtime.follow_logs(arguments.stack, arguments.workload, follow=arguments.follow)
        case "run":
            from operations.runtimes import runtime_of

            return runtime_of(arguments.stack).run_task(arguments.stack, arguments.workload, arguments.words or None)
        case "backup":
            from operations import backups, point_in_time

            if arguments.base:
                return point_in_time.take_base_backup(arguments.stack)
            return backups.backup(arguments.stack)
        case "backups":
            from operations import backups

            if arguments.action == "fetch" or arguments.offsite:
                from operations import offsite

                if arguments.action == "fetch":
                    if not arguments.backup:
                        raise OperationError("Name the backup: python -m operations backups list --offsite")
                    return offsite.fetch(arguments.stack, arguments.backup)
                if arguments.action == "list":
                    return offsite.list_copies(arguments.stack, as_json=arguments.json)
                raise OperationError("--offsite belongs to `backups list`. Each run of the copy checks the copies.")
            if arguments.action == "list":
                return backups.list_backups(arguments.stack, as_json=arguments.json)
            if arguments.action == "drill":
                return backups.drill(arguments.stack)
            return backups.verify(arguments.stack, arguments.backup)
        case "points":
            from operations import point_in_time

            return point_in_time.list_points(arguments.stack, as_json=arguments.json, verify=arguments.verify)
        case "recover":
            from operations import point_in_time

            return point_in_time.recover(arguments.stack, arguments.to, arguments.database, confirmed=arguments.yes)
        case "offsite":
            from operations import offsite

            if arguments.action == "password":
                return offsite.show_password(arguments.stack)
            return offsite.copy(arguments.stack)
        case "restore":
            from operations import backups

            if arguments.from_offsite:
                from operations import offsite

                if arguments.backup or arguments.drop_replaced:
                    raise OperationError("--from-offsite names the backup: it excludes --from and --drop-replaced.")
                if code := offsite.fetch(arguments.stack, arguments.from_offsite):
                    return code
                arguments.backup = arguments.from_offsite
            if arguments.drop_replaced:
                return backups.drop_replaced(arguments.stack, confirmed=arguments.yes)
            if arguments.rehearse:
                return backups.rehearse(arguments.stack, arguments.database, arguments.backup)
            return backups.restore(arguments.stack, arguments.database, arguments.backup, confirmed=arguments.yes)
        case "env":
            from operations import environment_file, stack

            path = environment_file.write(arguments.service, stack.outputs(arguments.stack))
            print(f"{path.name} is written; load it with: set -a; . ./{path.name}; set +a")
        case "beside":
            from operations.beside import beside

            return beside(arguments.stack, arguments.model)
        case "take-over":
            from operations.take_over import take_over

            return take_over(arguments.stack)
        case "destroy":
            from operations.destroy import destroy

            return destroy(arguments.stack)
        case "wipe":
            from operations.wipe import wipe

            return wipe(
                arguments.stack,
                take_last_backup=not arguments.no_last_backup,
                delete_backups=arguments.delete_backups,
            )
        case "preview":
            from operations.preview import preview

            return preview(arguments.stack)
        case "render":
            from operations.render import render

            render(arguments.stack)
        case "tenants":
            return _run_tenants(arguments)
        case "upgrade":
            return _run_upgrade(arguments)
        case "documents":
            from operations.documents import write_documents

            write_documents()
    return 0


if __name__ == "__main__":
    sys.exit(main())

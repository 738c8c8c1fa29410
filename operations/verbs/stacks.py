"""Verbs that bring a stack up, show it, and take it down."""

from __future__ import annotations

import argparse

from operations.verbs.verb import Verbs, add_verb


def add_stacks(verbs: Verbs[argparse.ArgumentParser]) -> None:
    """Add the verbs."""
    add_verb(verbs, "up", "bring the stack up", _up)
    add_verb(verbs, "preview", "show what a new stack would create, without secrets, state or cluster", _preview)
    _add_doctor(verbs)
    add_verb(verbs, "status", "show the stack's containers or pods", _status)
    logs = add_verb(verbs, "logs", "follow the logs of a workload", _logs)
    logs.add_argument("workload", help="for instance postgres")
    logs.add_argument("--follow", action="store_true", help="follow until interrupted")
    _add_run(verbs)
    env = add_verb(verbs, "env", "write the environment file of a service run from an editor", _env)
    env.add_argument("service", help="for instance user")
    beside = add_verb(verbs, "beside", "write the configuration of a second stack like dev, on free ports", _beside)
    beside.add_argument("--like", dest="model", default="dev", help="the first stack (default: %(default)s)")
    text = "remove the containers of another state's stack with this name, after a typed confirmation"
    add_verb(verbs, "take-over", text, _take_over)
    add_verb(verbs, "destroy", "destroy the stack and keep its data, after a typed confirmation", _destroy)
    _add_wipe(verbs)
    text = "write the stack as a Compose file or as Kubernetes manifests, without Pulumi and without Docker"
    add_verb(verbs, "render", text, _render)
    add_verb(verbs, "documents", "regenerate the generated documents", _documents, has_stack=False)


def _add_doctor(verbs: Verbs[argparse.ArgumentParser]) -> None:
    parser = add_verb(verbs, "doctor", "find out what is wrong with the stack, and what to do", _doctor)
    parser.epilog = (
        "Exit codes: 0 if nothing is broken, though there may be warnings; 1 if there is an error; 2 if "
        "there is none, but a check couldn't run."
    )
    parser.add_argument("--json", action="store_true", help="print as JSON, with the same exit codes")


def _add_run(verbs: Verbs[argparse.ArgumentParser]) -> None:
    parser = add_verb(verbs, "run", "run a scheduled task now, or another command in its container", _run)
    parser.usage = f"{parser.prog} [--stack STACK] WORKLOAD [-- COMMAND ...]"
    parser.epilog = (
        "COMMAND runs instead of the task's own command, without its time limit. The exit code is that of the "
        "command. Ctrl-C ends the run."
    )
    parser.add_argument("workload", metavar="WORKLOAD", help="the scheduled task, for instance backup")


def _add_wipe(verbs: Verbs[argparse.ArgumentParser]) -> None:
    text = "destroy the stack and delete its data except for the backups, after a typed confirmation"
    parser = add_verb(verbs, "wipe", text, _wipe)
    parser.add_argument(
        "--no-last-backup", action="store_true", help="don't offer a backup of the data that is deleted"
    )
    parser.add_argument("--delete-backups", action="store_true", help="delete the backups too")


def _up(arguments: argparse.Namespace) -> int:
    from operations import stack

    return stack.up(arguments.stack)


def _preview(arguments: argparse.Namespace) -> int:
    from operations.preview import preview

    return preview(arguments.stack)


def _doctor(arguments: argparse.Namespace) -> int:
    from operations.doctor.run import doctor

    return doctor(arguments.stack, as_json=arguments.json)


def _status(arguments: argparse.Namespace) -> None:
    from operations.runtimes import runtime_of

    runtime = runtime_of(arguments.stack)
    print(f"· stack '{arguments.stack}' {runtime.location(arguments.stack)}", flush=True)
    runtime.show_status(arguments.stack)


def _logs(arguments: argparse.Namespace) -> int:
    from operations.runtimes import runtime_of

    return runtime_of(arguments.stack).follow_logs(arguments.stack, arguments.workload, follow=arguments.follow)


def _run(arguments: argparse.Namespace) -> int:
    from operations.runtimes import runtime_of

    return runtime_of(arguments.stack).run_task(arguments.stack, arguments.workload, arguments.words or None)


def _env(arguments: argparse.Namespace) -> None:
    from operations import environment_file, stack

    path = environment_file.write(arguments.service, stack.outputs(arguments.stack))
    print(f"{path.name} is written; load it with: set -a; . ./{path.name}; set +a")


def _beside(arguments: argparse.Namespace) -> int:
    from operations.beside import beside

    return beside(arguments.stack, arguments.model)


def _take_over(arguments: argparse.Namespace) -> int:
    from operations.take_over import take_over

    return take_over(arguments.stack)


def _destroy(arguments: argparse.Namespace) -> int:
    from operations.destroy import destroy

    return destroy(arguments.stack)


def _wipe(arguments: argparse.Namespace) -> int:
    from operations.wipe import wipe

    return wipe(arguments.stack, take_last_backup=not arguments.no_last_backup, delete_backups=arguments.delete_backups)


def _render(arguments: argparse.Namespace) -> None:
    from operations.render import render

    render(arguments.stack)


def _documents(_: argparse.Namespace) -> None:
    from operations.documents import write_documents

    write_documents()

"""How a verb is declared."""

from __future__ import annotations

import argparse
from collections.abc import Callable

Verbs = argparse._SubParsersAction
Run = Callable[[argparse.Namespace], int | None]
"""Runs a verb and returns the exit code; None: 0."""


def add_verb(
    verbs: Verbs[argparse.ArgumentParser], name: str, text: str, run: Run, *, has_stack: bool = True
) -> argparse.ArgumentParser:
    """Add a verb, and return its parser for further arguments.

    Args:
        verbs: where it is added.
        name: the verb.
        text: its help.
        run: runs it with the parsed arguments.
        has_stack: whether it takes the option `--stack`.
    """
    parser = verbs.add_parser(name, help=text)
    if has_stack:
        parser.add_argument("--stack", default="dev", help="the stack's name (default: %(default)s)")
    parser.set_defaults(run=run)
    return parser


def add_databases(parser: argparse.ArgumentParser, every: str) -> argparse._MutuallyExclusiveGroup:
    """Add `--database` and `--all`, one of which is required. Return the group, to which other choices can be added.

    Args:
        parser: where they are added.
        every: what `--all` means.
    """
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--database", help="for instance pti_user")
    what.add_argument("--all", action="store_true", help=every)
    return what

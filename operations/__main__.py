"""`python -m operations`: the command line behind the Makefile's targets."""

from __future__ import annotations

import argparse
import gc
import sys

from operations.project import OperationError
from operations.verbs.backups import add_backups
from operations.verbs.stacks import add_stacks
from operations.verbs.tenants import add_tenants
from operations.verbs.upgrades import add_upgrades


def main() -> int:
    """Run one operation. Return 1 after one error message if it fails."""
    arguments = _parsed(sys.argv[1:])
    # A command keeps nearly all that it creates, and ends: collecting garbage takes a tenth of the time of `render`.
    gc.set_threshold(100_000)
    try:
        return arguments.run(arguments) or 0
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
    verbs = parser.add_subparsers(dest="command", required=True)
    for add in (add_stacks, add_backups, add_tenants, add_upgrades):
        add(verbs)
    return parser


if __name__ == "__main__":
    sys.exit(main())

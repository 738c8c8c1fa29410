"""YAML that a person can read."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import yaml


def header(stack: str) -> str:
    """The first line of every rendered file."""
    return f"# Made by `make render STACK={stack}` from the stack's program and configuration. Don't edit it.\n"


def document(content: Any) -> str:
    """One document; keys stay in their order."""
    return yaml.dump(content, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)


def documents(contents: Iterable[Any]) -> str:
    """Several documents, one after the other."""
    return "---\n".join(map(document, contents))


class _Dumper(yaml.SafeDumper):
    """Text of several lines stays readable, and nothing becomes an alias."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _represent_text)

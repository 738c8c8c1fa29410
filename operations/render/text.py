"""Readable YAML."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import yaml

try:
    from yaml import CSafeDumper as SafeDumper
except ImportError:  # PyYAML without libyaml; it writes the same text
    from yaml import SafeDumper  # type: ignore[assignment]


def header(stack: str) -> str:
    """Return the first line of every rendered file."""
    return f"# Made by `make render STACK={stack}` from the stack's program and configuration. Don't edit it.\n"


def document(content: Any) -> str:
    """Return one document; keys keep their order."""
    return yaml.dump(content, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)


def documents(contents: Iterable[Any]) -> str:
    """Return several documents in one text."""
    return "---\n".join(map(document, contents))


class _Dumper(SafeDumper):
    """Writes multi-line texts readably and never uses aliases."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _represent_text(dumper: SafeDumper, text: str) -> yaml.Node:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _represent_text)

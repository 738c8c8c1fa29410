"""The environment file of a rendered stack, read as Docker Compose reads it."""

from __future__ import annotations

import re
from pathlib import Path

from operations.project import OperationError
from operations.render.placeholders import TLS_PAIR, Placeholders
from settings.credential import Credential
from settings.credentials import unreadable_reason

VARIABLE_PATTERN = re.compile(
    r"""[ \t]*(?:export[ \t]+)?(?P<name>[A-Za-z_]\w*)[ \t]*=[ \t]*
    (?: '(?P<literal>[^']*)' | "(?P<quoted>(?:[^"\\]|\\.)*)" | (?P<plain>[^'"\n][^\n]*?)? )
    [ \t]*(?:(?<=\s)\#[^\n]*)?(?:\n|\Z)""",
    re.VERBOSE | re.DOTALL,
)
"""One variable: plain text to the end of the line, or quoted text, which may span several lines."""

BLANK_OR_COMMENT_PATTERN = re.compile(r"[ \t]*(?:#[^\n]*)?(?:\n|\Z)")
ESCAPED_CHARACTERS = {"n": "\n", "t": "\t", '"': '"', "\\": "\\", "$": "$"}


def read_variables(path: Path) -> dict[str, str]:
    """Return the variables of an environment file, without substitution.

    Raises:
        OperationError: a line isn't `NAME=value`; the message gives its number but not its text, which may be a secret.
    """
    text, found, position = path.read_text(), {}, 0
    while position < len(text):
        if entry := VARIABLE_PATTERN.match(text, position):
            found[entry["name"]] = _value(entry)
        elif not (entry := BLANK_OR_COMMENT_PATTERN.match(text, position)):
            line = text.count("\n", 0, position) + 1
            raise OperationError(f"{path}: line {line} is not NAME=value, or a quote isn't closed.")
        position = entry.end()
    return found


def read_secrets(path: Path, needed: Placeholders) -> dict[Credential, str]:
    """Return the value of every credential that a stack needs.

    Raises:
        OperationError: variables are missing, empty or invalid; the message names all of them.
    """
    variables = read_variables(path)
    values: dict[Credential, str] = {}
    mistakes = []
    for credential in needed.by_credential:
        value = variables.get(credential.variable, "")
        if not value.strip():
            mistakes.append(f"  {credential.variable} is missing or empty: {credential.purpose}")
        elif credential not in TLS_PAIR and not credential.is_pem and not value.isprintable():
            mistakes.append(f"  {credential.variable} is more than one line of printable characters")
        elif reason := unreadable_reason(credential, value):
            mistakes.append(f"  {credential.variable} {reason}")
        # A PEM text ends with a line break, which may be missing before the closing quote.
        values[credential] = f"{value.strip()}\n" if credential in TLS_PAIR else value
    if mistakes:
        raise OperationError(
            "\n".join([f"the secrets in {path} are incomplete or invalid; nothing has been written.", *mistakes])
        )
    return values


def _value(entry: re.Match[str]) -> str:
    if entry["quoted"] is not None:
        return re.sub(
            r"\\(.)", lambda found: ESCAPED_CHARACTERS.get(found[1], found[0]), entry["quoted"], flags=re.DOTALL
        )
    return entry["literal"] if entry["literal"] is not None else entry["plain"] or ""

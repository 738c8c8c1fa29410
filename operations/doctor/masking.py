"""Masks the stack's secrets in the output of its workloads."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import quote

from settings.credentials import CREDENTIALS

SECRET_MARK = ("4dabf18193072939515e22adb298388d", "1b47061264138c4ac30d75fd1eb44270")
"""Key and value that mark a secret in an exported state."""

MINIMUM_LENGTH = 4
"""Shorter texts in secret outputs are no secrets, but for instance port numbers; masking them would garble the rest."""

MASK = "[secret]"


def secret_texts(state: Any) -> set[str]:
    """Return the texts of all secrets of a state that was exported with their values.

    The well-known values of development stacks, such as `postgres`, aren't secret.
    """
    public = {one.well_known for one in CREDENTIALS}
    return {text for text in _secret_texts(state) if len(text) >= MINIMUM_LENGTH and text not in public}


def masked(text: str, secrets: Iterable[str]) -> str:
    """Return the text with every secret replaced, also if it is escaped as in a URL."""
    # The longest first: a secret may contain another one.
    for secret in sorted({*secrets} | {quote(one, safe="") for one in secrets}, key=len, reverse=True):
        text = text.replace(secret, MASK)
    return text


def _secret_texts(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if value.get(SECRET_MARK[0]) == SECRET_MARK[1]:
            yield from _texts(json.loads(value.get("plaintext", "null")))
        else:
            for one in value.values():
                yield from _secret_texts(one)
    elif isinstance(value, list):
        for one in value:
            yield from _secret_texts(one)


def _texts(value: Any) -> Iterator[str]:
    """Yield the texts in a secret value, and the lines of a text with several, such as a private key."""
    if isinstance(value, str):
        yield value
        if "\n" in value:
            yield from filter(None, map(str.strip, value.splitlines()))
    elif isinstance(value, dict):
        for one in value.values():
            yield from _texts(one)
    elif isinstance(value, list):
        for one in value:
            yield from _texts(one)

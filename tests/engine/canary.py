"""Values that can be recognised wherever they turn up, for every credential of the stack."""

from __future__ import annotations

import base64
import re
import threading
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from settings.credentials import CREDENTIALS
from tests.engine import docker_engine

AWKWARD = """'"\\$ `:@#%{}"""
"""What a shell, SQL, JSON, a URL or a configuration file would each read otherwise."""
MARK = "CANARY-"
PLAIN = re.compile(rf"{MARK}([A-Za-z]+)")


def _encoded(text: str) -> list[str]:
    """A text as it looks within Base64, at each of the three places where it can begin."""
    whole = [base64.b64encode(b"\0" * shift + text.encode()).decode().rstrip("=") for shift in range(3)]
    # Neither the first nor the last digit is the text's alone.
    return [digits[shift + bool(shift) : -1] for shift, digits in enumerate(whole)]


ENCODED = _encoded(MARK)


def canaries(version: int = 1) -> dict[str, str]:
    """A value for every credential's key."""
    return {one.key: f"{MARK}{one.key}-{version}-{AWKWARD}" for one in CREDENTIALS}


def found_in(text: str) -> set[str]:
    """The credentials' keys whose value, or the beginning of it, is in a text."""
    found = set(PLAIN.findall(text))
    return found | {"(in Base64)"} if any(encoded in text for encoded in ENCODED) else found


def values_found_in(text: str, values: Mapping[str, str]) -> set[str]:
    """The names whose values are in a text, as they are or in Base64."""
    return {name for name, value in values.items() if any(form in text for form in (value, *_encoded(value)))}


def found_in_volumes(stack: str) -> dict[str, set[str]]:
    """Volume to the keys found in it, in every volume of a stack, those with the stores' data too."""
    names = [one["Name"] for one in docker_engine.volumes(stack)]
    mounts = [f"--volume={name}:/volumes/{name}:ro" for name in names]
    search = ("grep", "--recursive", "--text", "--only-matching", "--no-messages", "--extended-regexp")
    image = ("--entrypoint", search[0], "postgres:18.6", *search[1:], PLAIN.pattern, "/volumes")
    matches = docker_engine.docker("run", "--rm", "--network=none", "--user=0", *mounts, *image)
    found = defaultdict(set)
    for line in matches.splitlines():
        path, _, match = line.partition(":")
        found[path.split("/")[2]].add(match.removeprefix(MARK))
    return dict(found)


def found_below(directory: Path) -> dict[str, set[str]]:
    """File to the keys found in it."""
    files = {path: path.read_bytes().decode(errors="replace") for path in directory.rglob("*") if path.is_file()}
    assert files, f"nothing is in {directory}"
    return {str(path): found for path, text in files.items() if (found := found_in(text))}


@contextmanager
def watched_arguments() -> Iterator[set[str]]:
    """Command lines that any process of this machine, containers included, has had meanwhile."""
    seen: set[str] = set()
    stop = threading.Event()

    def watch() -> None:
        while not stop.wait(0.02):
            for directory in Path("/proc").iterdir():
                if directory.name.isdigit() and (line := _arguments(directory)):
                    seen.add(line)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield seen
    finally:
        stop.set()
        watcher.join()


def _arguments(process: Path) -> str:
    try:
        return (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:  # gone by now
        return ""

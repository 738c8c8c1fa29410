"""Recognisable values for every credential of the stack."""

from __future__ import annotations

import base64
import json
import re
import secrets
import threading
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from settings.credentials import CREDENTIALS
from tests.engine import docker_engine
from tests.engine.pulumi_stack import PulumiStack
from tests.engine.waiting import until

SPECIAL_CHARACTERS = """'"\\$ `:@#%{}"""
"""Characters that a shell, SQL, JSON, URLs and configuration files interpret differently."""
MARK = f"CANARY-{secrets.token_hex(3)}-"
"""Unique to this run: suites that run at the same time see each other's processes."""

PLAIN = re.compile(rf"{MARK}([A-Za-z]+)")


def _encoded(text: str) -> list[str]:
    """Return a text's Base64 encoding at each of the three possible offsets."""
    whole = [base64.b64encode(b"\0" * shift + text.encode()).decode().rstrip("=") for shift in range(3)]
    # The first and the last digit also depend on the adjacent text.
    return [digits[shift + bool(shift) : -1] for shift, digits in enumerate(whole)]


ENCODED = _encoded(MARK)
GENERATED_OUTPUTS = {
    "random:index/randomPassword:RandomPassword": "result",
    "tls:index/privateKey:PrivateKey": "privateKeyPem",
}
"""Maps types of resources to the output with the generated value."""

VERBOSE_OPTIONS = ("--logtostderr", "-v=8")
"""The highest safe verbosity. From `-v=9` on, Pulumi's command logs each property of each resource in plain text. With
`--logflow`, the Docker plugin does so from `-v=5` on."""

YOUNG_SCANS = 50
"""Number of scans, 0.02 s apart, during which a process counts as new."""


def canaries(version: int = 1) -> dict[str, str]:
    """Return a value for every credential's key."""
    return {one.key: f"{MARK}{one.key}-{version}-{SPECIAL_CHARACTERS}" for one in CREDENTIALS}


def found_in(text: str) -> set[str]:
    """Return the keys of credentials whose value, or the beginning of it, occurs in a text."""
    found = set(PLAIN.findall(text))
    return found | {"(in Base64)"} if any(encoded in text for encoded in ENCODED) else found


def values_found_in(text: str, values: Mapping[str, str]) -> set[str]:
    """Return the names of values that occur in a text, in plain or in Base64."""
    return {name for name, value in values.items() if any(form in text for form in (value, *_encoded(value)))}


def generated_values(stack: PulumiStack) -> dict[str, str]:
    """Return the generated passwords, and one line of each generated private key, by the resource's name, from the
    decrypted state. One line is enough to search for; logs contain a key's line breaks in another form."""
    resources = stack.export("--show-secrets")["deployment"]["resources"]
    return {
        str(one["urn"]).rpartition("::")[2]: max(json.loads(one["outputs"][output]["plaintext"]).splitlines(), key=len)
        for one in resources
        if (output := GENERATED_OUTPUTS.get(one["type"]))
    }


def found_in_volumes(stack: str) -> dict[str, set[str]]:
    """Map each volume of a stack, including the stores' data, to the keys found in it."""
    names = [one["Name"] for one in docker_engine.volumes(stack)]
    mounts = [f"--volume={name}:/volumes/{name}:ro" for name in names]
    search = "grep --recursive --text --only-matching --no-messages --extended-regexp"
    image = ("--entrypoint=sh", "postgres:18.6", "-c", f"{search} '{PLAIN.pattern}' /volumes; echo exit $?")
    # grep exits with 2 if a store removes a file meanwhile: only a complete search counts.
    matches = until("no file was removed during the search", lambda: _complete(*mounts, *image))
    found = defaultdict(set)
    for line in matches[:-1]:
        path, _, match = line.partition(":")
        found[path.split("/")[2]].add(match.removeprefix(MARK))
    return dict(found)


def _complete(*arguments: str) -> list[str]:
    """Return the lines of a search in a container, and its exit code as the last; nothing if it wasn't complete."""
    lines = docker_engine.docker("run", "--rm", "--network=none", "--user=0", *arguments).splitlines()
    return lines if lines[-1] in ("exit 0", "exit 1") else []


def found_below(directory: Path) -> dict[str, set[str]]:
    """Map each file to the keys found in it."""
    files = {path: path.read_bytes().decode(errors="replace") for path in directory.rglob("*") if path.is_file()}
    assert files, f"nothing is in {directory}"
    return {str(path): found for path, text in files.items() if (found := found_in(text))}


@contextmanager
def watched_arguments() -> Iterator[set[str]]:
    """Collect the command lines of all processes on this machine, including containers, for the duration of the
    context."""
    seen: set[str] = set()
    stop = threading.Event()

    def watch() -> None:
        scans: Counter[Path] = Counter()
        while not stop.wait(0.02):
            for process in Path("/proc").iterdir():
                if not process.name.isdigit():
                    continue
                scans[process] += 1
                # A new process soon runs another program; older ones are read again once per second, to save CPU time.
                if (scans[process] <= YOUNG_SCANS or scans[process] % YOUNG_SCANS == 0) and (
                    line := _arguments(process)
                ):
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
    except OSError:  # The process has ended.
        return ""

"""`.ci/run` with stand-ins for the programs it calls: its exit code reflects the results of the suites."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.engine.waiting import until
from tests.unit.paths import ROOT


def program(path: Path, body: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/usr/bin/env bash\n{body}\n")
    path.chmod(0o755)


@pytest.fixture
def ci(tmp_path: Path) -> Path:
    """A checkout in which linting, preparation and every suite succeed immediately."""
    if subprocess.run(["bash", "-c", "true & wait -n -p ended && declare -A names"], capture_output=True).returncode:
        pytest.skip("bash 5.1 or newer is missing")
    program(tmp_path / "bin/make", "exit 0")
    program(tmp_path / ".ci/provide", "exit 0")
    program(tmp_path / ".venv/bin/python", "exit 0")
    return Path(shutil.copy(ROOT / ".ci/run", tmp_path / ".ci/run"))


def run(script: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    path = f"{script.parent.parent / 'bin'}:{os.environ['PATH']}"
    # Don't pass on the REPORTS variable of the CI run that executes these tests.
    environment = {name: value for name, value in os.environ.items() if name != "REPORTS"} | {"PATH": path}
    return subprocess.run([script, *arguments], env=environment, capture_output=True, text=True, timeout=60)


def test_ci_passes_if_every_suite_passes(ci: Path) -> None:
    ran = run(ci)

    assert ran.returncode == 0, ran.stderr


@pytest.mark.parametrize(
    "failing", ["tests/engine", "tests/e2e/kubernetes", "--ignore=tests/e2e/kubernetes", "summary"]
)
def test_ci_fails_if_one_suite_fails_and_still_runs_the_others(ci: Path, failing: str) -> None:
    program(ci.parent.parent / ".venv/bin/python", f'[[ "$*" == *{failing}* ]] && exit 1\nexit 0')

    ran = run(ci)

    assert ran.returncode == 1
    assert "== summary" in ran.stdout


@pytest.mark.parametrize("arguments", [[], ["long"]])
def test_ci_runs_the_provided_programs(ci: Path, arguments: list[str]) -> None:
    program(ci.parent / "provide", 'echo "provided: $*"')

    ran = run(ci, *arguments)

    assert f"provided: {' '.join(arguments)}\n" in ran.stdout
    assert ("left out: nothing" in ran.stdout) is bool(arguments)
    assert ("left out: PostgreSQL versions" in ran.stdout) is not bool(arguments)


def test_ci_deletes_its_reports(ci: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setenv("TMPDIR", str(scratch))

    run(ci)

    assert list(scratch.iterdir()) == []


def test_stopping_ci_stops_the_parallel_suites(ci: Path, tmp_path: Path) -> None:
    started = [tmp_path / "node", tmp_path / "make"]
    program(tmp_path / "bin/make", f'[[ "$*" == test ]] && echo $$ >{started[1]} && exec sleep 60\nexit 0')
    program(
        tmp_path / ".venv/bin/python",
        f'[[ "$*" == *tests/e2e/kubernetes\\ * ]] && echo $$ >{started[0]} && exec sleep 60\n'
        f'[[ "$*" == *pytest* ]] || exit 0\n'
        f"until [[ -s {started[0]} && -s {started[1]} ]]; do sleep 0.05; done\nkill $PPID",
    )

    run(ci)

    for one in started:
        # A signal handler runs before the script ends, and may finish after it.
        process = int(one.read_text())
        until("the suite has ended", lambda: not is_alive(process), 10)  # noqa: B023 - called in this round


@pytest.mark.parametrize("longer", ["engine", "kubernetes"])
def test_the_next_suite_begins_once_one_of_two_has_ended(ci: Path, tmp_path: Path, longer: str) -> None:
    begun = tmp_path / "e2e has begun"
    program(
        tmp_path / ".venv/bin/python",
        f'[[ "$*" == */e2e.xml* ]] && touch "{begun}"\n'
        f'[[ "$*" == */{longer}.xml* ]] || exit 0\n'
        f'for _ in {{1..400}}; do [[ -e "{begun}" ]] && exit 0; sleep 0.05; done; exit 1',
    )

    ran = run(ci)

    assert ran.returncode == 0, ran.stdout


def test_only_two_suites_run_beside_each_other_once_make_test_has_ended(ci: Path, tmp_path: Path) -> None:
    ended = tmp_path / "ended"
    ended.mkdir()
    program(tmp_path / "bin/make", f'[[ "$*" != test ]] || touch "{ended}/make-test"')
    program(
        tmp_path / ".venv/bin/python",
        '[[ "$*" =~ /([a-z0-9-]+)\\.xml ]] || exit 0\n'
        "declare -A needed=([e2e]=2 [dev-stack]=3)\n"
        f'(($(ls "{ended}" | wc -l) >= ${{needed[${{BASH_REMATCH[1]}}]:-0}})) && touch "{ended}/${{BASH_REMATCH[1]}}"',
    )

    ran = run(ci)

    assert ran.returncode == 0, ran.stdout
    assert {one.name for one in ended.iterdir()} == {"make-test", "engine", "kubernetes", "e2e", "dev-stack"}


def test_the_output_of_a_parallel_suite_is_shown(ci: Path, tmp_path: Path) -> None:
    program(tmp_path / "bin/make", "echo make said: $*; [[ $* != test ]]")

    ran = run(ci)

    assert ran.returncode == 1
    assert "make said: test\n" in ran.stdout


@pytest.mark.parametrize(("arguments", "tests"), [([], "all"), (["long"], "long")])
def test_ci_runs_all_tests_and_keeps_bytecode(
    ci: Path, arguments: list[str], tests: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    program(ci.parent.parent / "bin/make", 'echo "tests: $PTI_TESTS, bytecode: ${PYTHONDONTWRITEBYTECODE-written}"')

    assert f"tests: {tests}, bytecode: written\n" in run(ci, *arguments).stdout


def is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True

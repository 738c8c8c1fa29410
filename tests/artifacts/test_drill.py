"""The restore drill: it succeeds for a sound backup, and finds what couldn't be restored or would differ."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.artifacts.backup_scripts import Backups, backups_of, kill
from tests.artifacts.postgres_server import Installation, give_to_unprivileged_user, running_server
from tests.artifacts.postgres_start import server_pids
from tests.artifacts.provisioning_task import Outcome
from tests.artifacts.test_backup import QUERIES, SCHEMA, add_rows, correct_checksums, flip_a_bit, seeded, wait_for
from tests.artifacts.versions import on_the_newest_server
from tests.full_run import only_in_full_runs

pytestmark = only_in_full_runs

RDV, USER = "pti_rdv", "pti_user"


@pytest.fixture(scope="module")
def provisioned_server(installation: Installation) -> Iterator[Backups]:
    """Two databases with rows, and every kind of fact that a backup has, on a server of their own."""
    with running_server(installation) as server, backups_of(server, RDV, USER) as backups:
        for database in (RDV, USER):
            with backups.task.connect(database, f"{database}_migrator") as migrator:
                migrator.execute(SCHEMA)
                migrator.execute(f"GRANT SELECT (name) ON patient TO {database}_app")
            with server.connect(database) as admin:
                admin.execute("CREATE EXTENSION citext")
                admin.execute("CREATE TABLE word (word citext)")
                admin.execute(f"ALTER TABLE word OWNER TO {database}_owner")
                admin.execute(f"ALTER DATABASE {database} SET work_mem = '5MB'")
            add_rows(backups, database, seeded(database))
        yield backups


@pytest.fixture
def backups(provisioned_server: Backups) -> Iterator[Backups]:
    """The server, with no backup yet, and a directory for drills."""
    work = provisioned_server.task.home / "drill"
    work.mkdir()
    give_to_unprivileged_user(work)
    provisioned_server.environment["DRILL_DIR"] = str(work / "run")
    yield provisioned_server
    provisioned_server.environment.clear()
    shutil.rmtree(work, ignore_errors=True)
    shutil.rmtree(provisioned_server.directory, ignore_errors=True)
    with provisioned_server.server.connect() as admin:
        admin.execute("TRUNCATE backups.last_drill")


def drill(backups: Backups) -> Outcome:
    """Run a drill, after which nothing of it is left, and no database was added to the platform's server."""
    outcome = backups.run("drill.sh")
    assert left(backups) == []
    assert server_pids(Path(backups.environment["DRILL_DIR"]) / "data") == []
    with backups.server.connect() as admin:
        names = admin.execute("SELECT datname FROM pg_database WHERE NOT datistemplate ORDER BY 1").fetchall()
    assert names == [("postgres",), (RDV,), (USER,)]
    return outcome


def left(backups: Backups) -> list[str]:
    return [path.name for path in Path(backups.environment["DRILL_DIR"]).iterdir()]


def recorded(backups: Backups) -> dict[str, tuple[int, bool]]:
    """Map each database to the number of problems, and whether a drill has ever succeeded."""
    with backups.server.connect() as admin:
        found = admin.execute(
            "SELECT database::text, problems, succeeded_at IS NOT NULL FROM backups.last_drill"
        ).fetchall()
    return {database: (problems, has_succeeded) for database, problems, has_succeeded in found}


@on_the_newest_server
def test_the_exporter_reports_the_result_of_each_database(backups: Backups) -> None:
    with backups.server.connect() as admin:
        admin.execute(
            "INSERT INTO backups.last_drill VALUES (%s, 'b', to_timestamp(200), 0, to_timestamp(200)),"
            " (%s, 'b', to_timestamp(200), 3, NULL), ('dropped', 'b', now(), 1, NULL)",
            [RDV, USER],
        )
        query = QUERIES["pti_restore_drill"]
        cursor = admin.execute(query["query"])
        columns = [column.name for column in cursor.description or ()]
        found = sorted(cursor.fetchall())
    assert columns == [name for metric in query["metrics"] for name in metric]
    assert found == [(RDV, 0, 200, 200), (USER, 3, 200, None)]


def test_a_sound_backup_passes_and_is_recorded(backups: Backups) -> None:
    name = backups.back_up()
    outcome = drill(backups)
    assert (outcome.status, outcome.errors) == (0, "")
    assert (
        f"backup {name}: restored into a temporary server, and as recorded, databases: {RDV} {USER}" in outcome.output
    )
    assert recorded(backups) == {RDV: (0, True), USER: (0, True)}
    facts = (backups.directory / name / f"{RDV}.catalog").read_text()
    for fact in (
        rf"database: owner {RDV}_owner, ",
        r"relation public\.patient \(r\): owner \w+_owner, row security t, forced t",
        r"policy tenant_isolation of public\.booking_early: permissive f",
        r"policy recent of public\.booking: ",
        rf"column public\.patient\.name: grants {RDV}_app SELECT",
        r"extension citext: ",
        r"sequence public\.invoice: bigint from 100 by 7",
        r"trigger history of public\.patient: O",
        r"event trigger tenancy_guard: ",
        r"default of every role: work_mem=5MB",
    ):
        assert re.search(f"^{fact}", facts, re.MULTILINE), fact


def rewrite(backup: Path, file: str, pattern: str, replacement: str) -> None:
    """Change a file of a backup, and give the manifest its checksum."""
    path = backup / file
    changed, number = re.subn(pattern, replacement, path.read_text(), flags=re.MULTILINE)
    assert number > 0
    path.write_text(changed)
    correct_checksums(backup)


def shorten(backup: Path) -> None:
    """Cut off a dump, and give the manifest its checksum."""
    os.truncate(backup / f"{RDV}.dump", 3000)
    correct_checksums(backup)


PROBLEMS: dict[str, tuple[Callable[[Path], None], str]] = {
    "a missing role": (
        lambda backup: rewrite(backup, "globals.sql", rf"^(CREATE|ALTER) ROLE {RDV}_app\b.*;$", "--"),
        rf"all databases: in the backup, but not restored: role {RDV}_app: ",
    ),
    "another owner": (
        lambda backup: rewrite(
            backup, f"{RDV}.catalog", r"^(relation public\.patient \(r\): owner )\w+", r"\1somebody"
        ),
        rf"{RDV}: in the backup, but not restored: relation public.patient (r): owner somebody",
    ),
    "a policy": (
        lambda backup: rewrite(
            backup, f"{RDV}.catalog", r"^(policy recent of .*)$", r"\1\npolicy lost of public.booking"
        ),
        f"{RDV}: in the backup, but not restored: policy lost of public.booking",
    ),
    "another number of rows": (
        lambda backup: rewrite(backup, "manifest.json", r'("public\.patient": )\d+', r"\g<1>5000"),
        f'{RDV}: "public.patient": 5000 rows in the backup, ',
    ),
    "a truncated dump": (
        lambda backup: os.truncate(backup / f"{RDV}.dump", 3000),
        f"{RDV}: {RDV}.dump doesn't have the SHA-256 of the manifest",
    ),
    "a dump that can't be read": (
        shorten,
        f"{RDV}: {RDV}.dump can't be read: ",
    ),
    "a damaged list of roles": (
        lambda backup: flip_a_bit(backup / "globals.sql"),
        "globals.sql doesn't have the SHA-256 of the manifest",
    ),
    "a damaged manifest": (lambda backup: flip_a_bit(backup / "manifest.json"), "its manifest is damaged"),
}


@on_the_newest_server
@pytest.mark.parametrize("what", PROBLEMS)
def test_a_backup_that_would_not_bring_everything_back_fails(backups: Backups, what: str) -> None:
    damage, problem = PROBLEMS[what]
    damage(backups.directory / backups.back_up())
    outcome = drill(backups)
    assert outcome.status == 1
    assert problem in outcome.errors
    number, has_succeeded = recorded(backups)[RDV]
    assert number > 0
    assert not has_succeeded


@on_the_newest_server
def test_a_table_whose_policies_are_not_forced_fails_it(backups: Backups) -> None:
    with backups.server.connect(RDV) as admin:
        admin.execute("ALTER EVENT TRIGGER tenancy_guard DISABLE")
        admin.execute("ALTER TABLE patient NO FORCE ROW LEVEL SECURITY")
        try:
            backups.back_up()
        finally:
            admin.execute("ALTER TABLE patient FORCE ROW LEVEL SECURITY")
            admin.execute("ALTER EVENT TRIGGER tenancy_guard ENABLE")
    outcome = drill(backups)
    assert outcome.status == 1
    assert f"{RDV}: audit: public.patient: " in outcome.errors
    assert recorded(backups) == {RDV: (recorded(backups)[RDV][0], False), USER: (0, True)}


@on_the_newest_server
def test_a_full_disk_is_named_first(backups: Backups) -> None:
    if os.geteuid() != 0:
        pytest.skip("a small file system needs root")
    with backups.server.connect(RDV) as admin:
        admin.execute("CREATE TABLE large AS SELECT repeat(n::text, 200) AS text FROM generate_series(1, 100000) AS n")
        admin.execute(f"ALTER TABLE large OWNER TO {RDV}_owner")
        try:
            backups.back_up()
        finally:
            admin.execute("DROP TABLE large")
    for size_mib, reason in ((64, "MiB are needed"), (150, "all databases: it is full, ")):
        volume = str(Path(backups.environment["DRILL_DIR"]).parent)
        mount = ["mount", "-t", "tmpfs", "-o", f"size={size_mib}m,mode=777", "tmpfs", volume]
        subprocess.run(mount, check=True)
        try:
            outcome = drill(backups)
        finally:
            subprocess.run(["umount", volume], check=True)
        assert outcome.status == 1
        first = "\n".join(outcome.errors.splitlines()[:2])
        assert reason in first, outcome.errors


@on_the_newest_server
def test_without_a_backup_it_fails(backups: Backups) -> None:
    backups.directory.mkdir()
    give_to_unprivileged_user(backups.directory)
    outcome = drill(backups)
    assert outcome.status == 1
    assert "all databases: there is no backup" in outcome.errors
    assert recorded(backups) == {RDV: (1, False), USER: (1, False)}


@on_the_newest_server
def test_a_result_that_can_not_be_recorded_fails_it(backups: Backups) -> None:
    backups.back_up()
    backups.environment["PGPORT"] = "1"
    outcome = backups.run("drill.sh")
    assert outcome.status == 1
    assert "drill failed at: record of the result" in outcome.errors


@on_the_newest_server
@pytest.mark.parametrize("how", ["terminated", "killed"])
def test_an_ended_drill_leaves_no_server_and_the_next_one_succeeds(backups: Backups, how: str) -> None:
    backups.back_up()
    directory = Path(backups.environment["DRILL_DIR"])
    process = backups.start("drill.sh")
    wait_for(lambda: (directory / "data" / "postmaster.pid").exists())
    time.sleep(0.2)
    assert backups.run("drill.sh").errors.endswith("another drill is running\n")
    if how == "terminated":
        process.terminate()
        process.communicate(timeout=60)
        assert process.returncode == 143
        assert left(backups) == []
    else:
        kill(process)
    wait_for(lambda: server_pids(directory / "data") == [])
    assert recorded(backups) == {}
    outcome = drill(backups)
    assert (outcome.status, outcome.errors) == (0, "")

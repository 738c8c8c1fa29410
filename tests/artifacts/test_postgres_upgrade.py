"""PostgreSQL's upgrade to another major version with real servers: what is the same afterwards, what a kill or a full
disk at each step leaves behind, and the way back.
"""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from testbed import ext4
from tests.artifacts.backup_scripts import backups_of
from tests.artifacts.postgres_server import (
    ADMIN,
    ADMIN_PASSWORD,
    DEADLINE_S,
    Installation,
    Server,
    give_to_unprivileged_user,
    installations,
    runnable,
    running_server,
)
from tests.artifacts.postgres_start import Container, container, pause, until
from tests.artifacts.provisioning_task import task_for
from tests.failures import FailureRecord
from tests.full_run import IS_LONG_RUN, only_in_full_runs

pytestmark = only_in_full_runs

OLD = [one for one in installations()[:-1] if one.major >= 17 or IS_LONG_RUN]
"""In the long run, also versions that `postgres.image` doesn't support."""

NEW = installations()[-1:]
needs_two_versions = pytest.mark.skipif(not OLD, reason="this machine has only one major version of PostgreSQL")
DATABASES = ("pti_rdv", "pti_user")
OTHER = "an 'odd' = name"

SCHEMA = """
    CREATE TABLE patient (
        tenant_id uuid NOT NULL, id serial, name text, born timestamptz, note jsonb, photo bytea, share numeric,
        size double precision, upper_name text GENERATED ALWAYS AS (upper(name)) STORED, PRIMARY KEY (tenant_id, id));
    CREATE TABLE booking (
        tenant_id uuid NOT NULL, id bigint GENERATED ALWAYS AS IDENTITY, patient_id int, day date, period tstzrange,
        PRIMARY KEY (tenant_id, id, day), FOREIGN KEY (tenant_id, patient_id) REFERENCES patient (tenant_id, id)
    ) PARTITION BY RANGE (day);
    CREATE TABLE booking_early PARTITION OF booking FOR VALUES FROM ('2000-01-01') TO ('2013-01-01');
    CREATE TABLE booking_late PARTITION OF booking DEFAULT;
    CREATE VIEW days AS SELECT tenant_id, day FROM booking;
    CREATE SEQUENCE invoice INCREMENT 7 START 100;
    CREATE SCHEMA reports;
    CREATE TABLE reports.daily (tenant_id uuid NOT NULL, total int CHECK (total > 0));
    CREATE FUNCTION changed() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.note = ''{}''; RETURN NEW; END';
    CREATE TRIGGER changed BEFORE UPDATE ON patient FOR EACH ROW EXECUTE FUNCTION changed();
"""


@pytest.fixture(scope="module", params=OLD, ids=lambda one: f"from-{one.major}")
def filled_volume(request: pytest.FixtureRequest) -> Iterator[Container]:
    """The volume of a stopped server of an older version, with provisioned databases and random rows."""
    with container(request.param) as one:
        one.password = ADMIN_PASSWORD
        one.start_and_connect().close()
        with task_for(server_of(one), *DATABASES) as task:
            outcome = task.run()
            assert outcome.status == 0, outcome.errors
            for database in DATABASES:
                with task.connect(database, f"{database}_migrator") as migrator:
                    migrator.execute(SCHEMA)
        with server_of(one).connect() as admin:
            admin.execute(f'CREATE DATABASE "{OTHER}" TEMPLATE template0 CONNECTION LIMIT 7')
            admin.execute("CREATE ROLE operator LOGIN PASSWORD 'it''s \\ secret' VALID UNTIL '2100-01-01'")
            admin.execute("GRANT pti_rdv_owner TO operator")
            admin.execute("ALTER ROLE operator IN DATABASE pti_rdv SET work_mem = '3MB'")
            admin.execute(f'ALTER DATABASE "{OTHER}" SET lock_timeout = 77')
            admin.execute("CREATE TABLE kept (id int)")
        with server_of(one).connect("template1") as admin:
            admin.execute("CREATE TABLE inherited (id int)")
        for database in (*DATABASES, OTHER):
            add_rows(one, database)
        assert one.stop() == 0
        yield one


@pytest.fixture
def store(filled_volume: Container) -> Iterator[Container]:
    """A stopped server on a copy of that volume."""
    with copy_of(filled_volume) as one:
        yield one


@contextmanager
def copy_of(filled: Container) -> Iterator[Container]:
    with container(filled.programs) as one:
        one.password = ADMIN_PASSWORD
        subprocess.run(["cp", "-a", f"{filled.volume}/.", str(one.volume)], check=True)
        yield one


def server_of(store: Container) -> Server:
    """Return the container's server for the provisioning task."""
    return Server(store.port, store.home / "log", store.programs)


def add_rows(store: Container, database: str) -> None:
    """Insert random rows, and advance sequences."""
    choose = random.Random(database)  # noqa: S311 - test data
    with server_of(store).connect(database) as admin, admin.transaction():
        if database == OTHER:
            admin.execute("CREATE EXTENSION citext")
            admin.execute("CREATE TABLE word (word citext PRIMARY KEY)")
            admin.execute("INSERT INTO word VALUES ('Straße'), ('été'), ('Éte')")
            admin.execute("SELECT lo_from_bytea(0, 'large')")
            return
        for number in range(300):
            tenant = f"{choose.randrange(1, 4)}1111111-1111-4111-8111-111111111111"
            name = "".join(choose.choices("aé€🙂\\'\"\n\t ,;|{}%:", k=choose.randrange(12)))
            born = (
                f"{choose.randrange(1900, 2020)}-02-{choose.randrange(1, 29)} 12:00:00.{choose.randrange(10**6):06}+05"
            )
            [(patient,)] = admin.execute(
                "INSERT INTO patient (tenant_id, name, born, note, photo, share, size) "
                "VALUES (%s, %s, %s, %s, %s, %s, %s) RETURNING id",
                [
                    tenant,
                    name,
                    born,
                    json.dumps({name: number}),
                    choose.randbytes(200),
                    choose.random(),
                    choose.random(),
                ],
            ).fetchall()
            day = f"{choose.randrange(2001, 2030)}-01-01"
            admin.execute(
                "INSERT INTO booking (tenant_id, patient_id, day, period) VALUES (%s, %s, %s, tstzrange(%s, NULL))",
                [tenant, patient, day, born],
            )
        admin.execute("DELETE FROM booking WHERE id %% %s = 0", [choose.randrange(3, 9)])
        for _ in range(choose.randrange(1, 9)):
            admin.execute("SELECT nextval('invoice')")


def contents(store: Container) -> list[str]:
    """Return everything in the server, as the newest pg_dump writes it: the sorted lines of each database.

    The superuser's password is left out, because each start sets it again, with another salt.
    """
    [newest] = NEW
    options = ["-h", "127.0.0.1", "-p", str(store.port), "-U", ADMIN]
    found = []
    for arguments in (
        ["pg_dumpall", "--roles-only"],
        *(["pg_dump", "--create", "--blobs", f"--dbname=dbname='{quoted(name)}'"] for name in names(store)),
    ):
        command = [str(runnable(newest).bin / arguments[0]), *options, *arguments[1:]]
        environment = {"PGPASSWORD": ADMIN_PASSWORD}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        text = re.sub(r"(?m)^(\\(un)?restrict .*|ALTER ROLE postgres .*|-- Dumped (from|by) .*)$", "", done.stdout)
        # Before 16, a membership had no options, and a view's columns were qualified.
        text = re.sub(r"\bbooking\.(tenant_id|day)\b", r"\1", text)
        text = re.sub(r"(?m)^(GRANT \w+ TO \w+)( WITH INHERIT (TRUE|FALSE))? GRANTED BY postgres;$", r"\1;", text)
        found += sorted(text.split("\n"))
    return found


def quoted(name: str) -> str:
    return name.replace("\\", "\\\\").replace("'", "\\'")


def names(store: Container) -> list[str]:
    with server_of(store).connect() as admin:
        found = admin.execute("SELECT datname FROM pg_database WHERE datname <> 'template0' ORDER BY 1").fetchall()
    return [str(name) for (name,) in found]


def status(store: Container) -> str:
    return store.run("upgrade.sh", "status").stdout.strip()


def request(store: Container, major: int | None = None) -> None:
    """Request an upgrade of the running server, and start its next container."""
    requested = store.run("upgrade.sh", "request", str(major or NEW[0].major))
    assert requested.returncode == 0, requested.stderr
    assert store.process is not None
    assert store.process.wait(timeout=DEADLINE_S) == 0
    store.start()


def dump(store: Container) -> None:
    """Start the old server, and let it write the dump."""
    if store.process is None or store.process.poll() is not None:
        store.start_and_connect().close()
    request(store)
    wait_for_dump(store)


def wait_for_dump(store: Container) -> None:
    """Wait until the dump is complete."""
    deadline = time.monotonic() + 3 * DEADLINE_S
    while (found := status(store)) != f"dumped {NEW[0].major}":
        assert store.process is not None
        assert (store.process.poll(), found.startswith("failed")) == (None, False), store.log
        assert time.monotonic() < deadline, store.log
        pause()


def set_image(store: Container, installation: Installation) -> None:
    """Stop the container, and replace its image."""
    if store.process is not None and store.process.poll() is None:
        store.stop(signal.SIGTERM)
    store.previous_major = str(store.programs.major)
    store.programs = runnable(installation)


def upgrade(store: Container) -> None:
    dump(store)
    set_image(store, NEW[0])
    store.start_and_connect().close()


def rows(store: Container) -> int:
    with server_of(store).connect() as admin:
        [(count,)] = admin.execute("SELECT count(*) FROM kept").fetchall()
    return int(count)


def write(store: Container) -> None:
    with server_of(store).connect() as admin:
        admin.execute("INSERT INTO kept VALUES (1)")


@needs_two_versions
class TestUpgrade:
    def test_every_row_role_grant_and_setting_is_the_same(
        self, store: Container, failure_record: FailureRecord
    ) -> None:
        failure_record.begin(
            "PostgreSQL is upgraded to another major version", on="PostgreSQL", effect="it doesn't accept connections"
        )
        store.start_and_connect().close()
        before = contents(store)
        failure_record.mark_failure()
        upgrade(store)
        failure_record.mark_recovery()
        assert contents(store) == before
        failure_record.set_lost("nothing: everything that pg_dump writes is the same, row by row")
        with server_of(store).connect() as admin:
            assert admin.execute("SELECT current_setting('server_version_num')::int / 10000").fetchone() == (
                NEW[0].major,
            )
        assert store.marker.read_text() == f"postgres major={NEW[0].major}\n"
        assert sorted(path.name for path in store.volume.iterdir() if path.is_dir()) == [
            store.previous_major,
            str(NEW[0].major),
        ]
        assert (status(store), store.run("ready.sh").returncode) == ("idle", 0)

    def test_provisioning_has_nothing_to_change_afterwards(self, store: Container) -> None:
        upgrade(store)
        with task_for(server_of(store), *DATABASES) as task:
            outcome = task.run()
        assert (outcome.status, outcome.errors) == (0, "")
        if int(store.previous_major) < 17:
            return  # It sets what the older version hasn't.
        assert outcome.lines_about("server: un", "database", "role", "passwords", "audit") == [
            "server: unchanged",
            *(f"database {database}: unchanged" for database in DATABASES),
            "passwords: 5 unchanged",
            *(f"audit {database}: no findings" for database in DATABASES),
        ]

    def test_no_client_connects_between_the_dump_and_the_restored_data(self, store: Container) -> None:
        dump(store)
        waiting = f"the data is dumped; waiting for an image of PostgreSQL {NEW[0].major}\n"
        # The server that was dumped stops first.
        until(lambda: store.run("ready.sh").stdout == waiting)
        with pytest.raises(Exception, match="Connection refused"):
            store.connect()
        set_image(store, NEW[0])
        before = len(store.log)
        store.start_and_connect().close()
        log = store.log[before:]
        assert log.index("restore of pti_user") < log.index('listening on IPv4 address "127.0.0.1"')

    def test_a_restart_of_the_old_server_keeps_it_closed_and_the_dump_as_it_is(self, store: Container) -> None:
        dump(store)
        [written] = [path.stat().st_mtime_ns for path in store.volume.glob("upgrade/dump/all_roles")]
        store.kill()
        store.start()
        until(lambda: "waiting for an image" in store.run("ready.sh").stdout)
        assert [path.stat().st_mtime_ns for path in store.volume.glob("upgrade/dump/all_roles")] == [written]

    def test_a_cancelled_upgrade_serves_again(self, store: Container) -> None:
        dump(store)
        assert store.run("upgrade.sh", "cancel").stdout == "idle\n"
        until(lambda: store.run("ready.sh").returncode == 0, details=[store.log])
        write(store)
        assert not (store.volume / "upgrade").exists()
        assert store.stop() == 0
        set_image(store, NEW[0])
        assert "no dump of it for PostgreSQL" in store.start_refused()


@needs_two_versions
class TestKills:
    @pytest.mark.parametrize(
        "moment", ["dump of template1", "dump of pti_rdv", "dump of pti_user", "waiting for an image"]
    )
    def test_a_killed_dump_is_repeated(self, store: Container, moment: str) -> None:
        store.start_and_connect().close()
        before = contents(store)
        request(store)
        until(lambda: moment in store.log, details=[store.log])
        store.kill()
        store.start()
        wait_for_dump(store)
        set_image(store, NEW[0])
        store.start_and_connect().close()
        assert contents(store) == before

    @pytest.mark.parametrize(
        "moment", ["new data directory", "restore of template1", "restore of postgres", "restore of pti_user"]
    )
    @pytest.mark.parametrize("delay_s", [0, 0.4])
    def test_a_killed_restore_begins_again(self, store: Container, moment: str, delay_s: float) -> None:
        store.start_and_connect().close()
        before = contents(store)
        assert store.stop() == 0
        dump(store)
        set_image(store, NEW[0])
        store.start()
        until(lambda: moment in store.log, details=[store.log])
        time.sleep(delay_s)  # Any moment within the step.
        store.kill()
        assert (store.volume / store.previous_major / "docker" / "PG_VERSION").exists()
        store.start_and_connect().close()
        assert contents(store) == before

    @pytest.mark.parametrize("is_marked", [False, True])
    def test_a_kill_after_the_new_directory_has_its_name_loses_nothing(self, store: Container, is_marked: bool) -> None:
        dump(store)
        remains = store.home / "remains"
        shutil.copytree(store.volume / "upgrade", remains)
        set_image(store, NEW[0])
        store.start_and_connect().close()
        before = contents(store)
        assert store.stop() == 0
        # The state of the volume before the last steps.
        subprocess.run(["cp", "-a", str(remains), str(store.volume / "upgrade")], check=True)
        subprocess.run(["chown", "-R", "--reference", str(store.volume), str(store.volume / "upgrade")], check=True)
        if not is_marked:
            store.marker.write_text(f"postgres major={store.previous_major}\n")
        store.start_and_connect().close()
        assert contents(store) == before
        assert not (store.volume / "upgrade").exists()


@needs_two_versions
class TestWayBack:
    def test_the_old_image_serves_the_old_data(self, store: Container) -> None:
        old = store.programs
        store.start_and_connect().close()
        before = contents(store)
        assert store.stop() == 0
        upgrade(store)
        write(store)
        set_image(store, old)
        store.start_and_connect().close()
        assert contents(store) == before

        # The data of the newer version is older now, so that it isn't served by mistake.
        refused = store.run("upgrade.sh", "request", str(NEW[0].major))
        assert (refused.returncode, "Delete it first" in refused.stderr) == (1, True)
        write(store)
        set_image(store, NEW[0])
        assert "is from an upgrade that was undone" in store.start_refused()

        set_image(store, old)
        store.previous_major = ""
        store.start_and_connect().close()
        assert store.run("upgrade.sh", "old").stdout == f"{NEW[0].major}\n"
        assert "deleted" in store.run("upgrade.sh", "delete-old").stdout
        request(store)
        wait_for_dump(store)
        set_image(store, NEW[0])
        store.start_and_connect().close()
        assert rows(store) == 1

    def test_data_that_cannot_be_restored_leaves_the_old_server_as_it_was(
        self, store: Container, failure_record: FailureRecord
    ) -> None:
        """PostgreSQL dumps a generated column whose function calls another one without its schema."""
        failure_record.begin(
            "The dump of an upgrade can't be restored", on="PostgreSQL", effect="the new server doesn't start"
        )
        with store.start_and_connect():
            pass
        with server_of(store).connect("pti_user") as admin:
            admin.execute("CREATE FUNCTION inner_one(t text) RETURNS text IMMUTABLE LANGUAGE sql AS 'SELECT upper(t)'")
            admin.execute(
                "CREATE FUNCTION outer_one(t text) RETURNS text IMMUTABLE LANGUAGE plpgsql AS "
                "'BEGIN RETURN inner_one(t); END'"
            )
            admin.execute(
                "CREATE TABLE unrestorable (tenant_id uuid, t text, u text GENERATED ALWAYS AS (outer_one(t)) STORED)"
            )
            admin.execute("INSERT INTO unrestorable VALUES (NULL, 'x')")
        before = contents(store)
        old = store.programs
        request(store)
        wait_for_dump(store)
        set_image(store, NEW[0])
        failure_record.mark_failure()
        output = store.start_refused()
        assert "inner_one(text) does not exist" in output
        assert "can't be restored" in store.run("ready.sh").stdout
        set_image(store, old)
        store.start_and_connect().close()
        failure_record.mark_recovery()
        assert contents(store) == before
        assert sorted(path.name for path in store.volume.iterdir() if path.is_dir()) == [str(old.major)]
        failure_record.set_lost("nothing")


@needs_two_versions
class TestRefusals:
    def test_another_image_alone_is_refused(self, store: Container) -> None:
        dump(store)
        set_image(store, NEW[0])
        store.previous_major = ""
        old = filled_major(store)
        assert f"contains data of PostgreSQL {old}, but this image has another version" in store.start_refused()

    @pytest.mark.parametrize(
        ("statement", "reason"),
        [
            ("ALTER DATABASE pti_rdv ALLOW_CONNECTIONS false", "database pti_rdv accepts no connections"),
            ("CREATE TABLESPACE elsewhere LOCATION '{tablespace}'", "tablespace elsewhere is outside"),
            ("BEGIN; CREATE TABLE t (i int); PREPARE TRANSACTION 'half'", "transaction 'half' isn't finished"),
        ],
    )
    def test_what_a_dump_leaves_out_is_refused(self, store: Container, statement: str, reason: str) -> None:
        store.settings = {"max_prepared_transactions": "2"}
        tablespace = store.home / "tablespace"
        tablespace.mkdir()
        give_to_unprivileged_user(tablespace)
        store.start_and_connect().close()
        with server_of(store).connect() as admin:
            for part in statement.format(tablespace=tablespace).split("; "):
                admin.execute(part)
        refused = store.run("upgrade.sh", "request", str(NEW[0].major))
        assert (refused.returncode, reason in refused.stderr) == (1, True), refused
        assert status(store) == "idle"

    @pytest.mark.parametrize(
        ("major", "reason"), [("", "not a major version"), ("18.6", "not a major version"), ("9", "can't go to")]
    )
    def test_an_impossible_version_is_refused(self, store: Container, major: str, reason: str) -> None:
        store.start_and_connect().close()
        refused = store.run("upgrade.sh", "request", major)
        assert (refused.returncode, reason in refused.stderr) == (1, True), refused

    def test_a_second_request_is_refused(self, store: Container) -> None:
        dump(store)
        refused = store.run("upgrade.sh", "request", str(NEW[0].major))
        assert (refused.returncode, "is in progress" in refused.stderr) == (1, True)


def filled_major(store: Container) -> str:
    """Return the major version of the volume's data."""
    return store.marker.read_text().strip().removeprefix("postgres major=")


@needs_two_versions
class TestFullDisk:
    @pytest.fixture
    def small_store(self, filled_volume: Container, tmp_path: Path) -> Iterator[Container]:
        """The server on a file system of its own."""
        if reason := ext4.why_unavailable():
            pytest.skip(reason)
        with container(filled_volume.programs) as one:
            one.password = ADMIN_PASSWORD
            ext4.mount(tmp_path / "disk", one.volume, 768)
            try:
                subprocess.run(["cp", "-a", f"{filled_volume.volume}/.", str(one.volume)], check=True)
                give_to_unprivileged_user(one.volume)
                yield one
            finally:
                one.kill()
                ext4.unmount(one.volume)

    def test_a_request_without_space_is_refused(self, small_store: Container) -> None:
        small_store.start_and_connect().close()
        fill(small_store, leave_mib=100)
        refused = small_store.run("upgrade.sh", "request", str(NEW[0].major))
        assert (refused.returncode, "KiB free" in refused.stderr) == (1, True), refused

    @pytest.mark.parametrize(
        ("leave_mib", "reason"), [(0.05, "No space left on device"), (100, "KiB are free beside the dump")]
    )
    def test_a_dump_without_space_lets_the_server_serve_again(
        self, small_store: Container, leave_mib: float, reason: str
    ) -> None:
        small_store.start_and_connect().close()
        before = contents(small_store)
        assert small_store.run("upgrade.sh", "request", str(NEW[0].major)).returncode == 0
        assert small_store.process is not None
        small_store.process.wait(timeout=DEADLINE_S)
        fill(small_store, leave_mib=leave_mib)
        small_store.start()
        until(lambda: status(small_store).startswith("failed"), details=[small_store.log])
        assert reason in status(small_store)
        (small_store.volume / "filling").unlink()
        until(lambda: small_store.run("ready.sh").returncode == 0, details=[small_store.log])
        assert contents(small_store) == before
        assert not (small_store.volume / "upgrade" / "dump.new").exists()

    def test_a_restore_without_space_changes_nothing(
        self, small_store: Container, failure_record: FailureRecord
    ) -> None:
        failure_record.begin(
            "The disk is full during an upgrade of PostgreSQL", on="PostgreSQL", effect="the new server doesn't start"
        )
        small_store.start_and_connect().close()
        before = contents(small_store)
        dump(small_store)
        old = small_store.programs
        set_image(small_store, NEW[0])
        fill(small_store, leave_mib=60)
        failure_record.mark_failure()
        assert "No space left on device" in small_store.start_refused()
        set_image(small_store, old)
        small_store.start_and_connect().close()
        failure_record.mark_recovery()
        assert contents(small_store) == before
        failure_record.set_lost("nothing: the old image serves again")


def fill(store: Container, leave_mib: float) -> None:
    """Leave this much space on the volume's file system."""
    blocks = os.statvfs(store.volume)
    free = blocks.f_bavail * blocks.f_frsize - int(leave_mib * 2**20)
    with (store.volume / "filling").open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, free)


@needs_two_versions
def test_a_backup_of_the_old_version_is_restored_into_the_new_one(failure_record: FailureRecord) -> None:
    failure_record.begin(
        "A backup is older than the upgrade of PostgreSQL", on="PostgreSQL", effect="it is restored like any other"
    )
    database = DATABASES[0]
    for old in OLD:
        with running_server(old) as server, backups_of(server, database) as before:
            with server.connect(database) as admin:
                admin.execute("CREATE TABLE kept (tenant_id uuid, n int)")
                admin.execute("INSERT INTO kept SELECT NULL, generate_series(1, 500)")
            name = before.back_up()
            with running_server(NEW[0]) as newer, backups_of(newer, database) as after:
                shutil.copytree(before.directory, after.directory)
                subprocess.run(
                    ["chown", "-R", "--reference", str(after.directory.parent), str(after.directory)], check=True
                )
                outcome = after.restore(name)
                assert outcome.status == 0, outcome.errors
                with newer.connect(database) as admin:
                    assert admin.execute("SELECT count(*), sum(n) FROM kept").fetchone() == (500, 125_250)
    failure_record.set_lost("nothing")

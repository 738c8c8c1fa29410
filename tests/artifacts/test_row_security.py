"""One tenant attacks another as the service's own role, and migrations try to bypass isolation."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest
from psycopg import errors
from psycopg.rows import TupleRow

from settings.catalog import SERVICES
from tests.artifacts.provisioning_task import BACKUP, Task

Session = psycopg.Connection[TupleRow]

DATABASE = "pti_rdv"
NORTH_TENANT = "11111111-1111-4111-8111-111111111111"
SOUTH_TENANT = "22222222-2222-4222-8222-222222222222"
SOUTH_ROW_ID = "99999999-9999-4999-8999-999999999999"
NORTH_ROWS = [("Anna", 10)]
SOUTH_ROWS = [("Bruno", 42)]

TABLES = """
CREATE TABLE appointment (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    tenant_id uuid NOT NULL,
    number bigint GENERATED ALWAYS AS IDENTITY,
    patient text NOT NULL,
    fee int NOT NULL,
    UNIQUE (tenant_id, patient)
);
CREATE VIEW agenda AS SELECT patient, fee FROM appointment;
CREATE SEQUENCE invoice;
"""


@pytest.fixture(scope="session")
def tables(platform: Task) -> None:
    """A service's tables, created by its migrator without any mention of row-level security."""
    with platform.connect(DATABASE, f"{DATABASE}_migrator") as migrator:
        migrator.execute(TABLES)


@pytest.fixture(scope="session")
def admin(platform: Task, tables: None) -> Iterator[Session]:
    """A connection of the superuser, who sees all rows, shared by the session."""
    with platform.server.connect(DATABASE) as session:
        yield session


@pytest.fixture
def migrator(platform: Task, tables: None) -> Iterator[Session]:
    """The migration role, and a schema `attempt` for its attempts."""
    with platform.connect(DATABASE, f"{DATABASE}_migrator") as session:
        session.execute("CREATE SCHEMA attempt")
        yield session
        session.execute("DROP SCHEMA attempt CASCADE")


@pytest.fixture
def app(platform: Task, admin: Session) -> Iterator[Session]:
    """The application role, with one appointment per tenant; the south's must be unchanged after the test."""
    admin.execute("TRUNCATE appointment")
    admin.execute("INSERT INTO appointment (tenant_id, patient, fee) VALUES (%s, 'Anna', 10)", [NORTH_TENANT])
    admin.execute(
        "INSERT INTO appointment (tenant_id, id, patient, fee) VALUES (%s, %s, 'Bruno', 42)",
        [SOUTH_TENANT, SOUTH_ROW_ID],
    )
    with platform.connect(DATABASE, f"{DATABASE}_app") as session:
        yield session
    south_rows = admin.execute(
        "SELECT id::text, patient, fee FROM appointment WHERE tenant_id = %s", [SOUTH_TENANT]
    ).fetchall()
    assert south_rows == [(SOUTH_ROW_ID, "Bruno", 42)]


@contextmanager
def tenant(session: Session, identifier: str) -> Iterator[Session]:
    """Open a transaction as the services do."""
    with session.transaction():
        session.execute("SELECT set_config('app.tenant_id', %s, true)", [identifier])
        yield session


def patients(session: Session) -> list[TupleRow]:
    return session.execute("SELECT patient, fee FROM appointment").fetchall()


# Reads of the application role


def test_each_tenant_sees_its_own_rows(app: Session) -> None:
    with tenant(app, NORTH_TENANT):
        assert patients(app) == NORTH_ROWS
    with tenant(app, SOUTH_TENANT):
        assert patients(app) == SOUTH_ROWS


def test_without_a_tenant_there_are_no_rows(app: Session) -> None:
    assert patients(app) == []
    assert app.execute("UPDATE appointment SET fee = 0").rowcount == 0
    assert app.execute("DELETE FROM appointment").rowcount == 0
    with pytest.raises(errors.InsufficientPrivilege, match="row-level security"):
        app.execute("INSERT INTO appointment (tenant_id, patient, fee) VALUES (%s, 'Eve', 1)", [NORTH_TENANT])


def test_the_tenant_is_unset_after_its_transaction_without_an_error(app: Session) -> None:
    with tenant(app, NORTH_TENANT):
        assert patients(app) == NORTH_ROWS
    assert app.execute("SELECT current_setting('app.tenant_id')").fetchall() == [("",)]
    assert patients(app) == []


def test_a_tenant_that_is_not_a_uuid_is_refused(app: Session) -> None:
    with pytest.raises(errors.InvalidTextRepresentation), tenant(app, "' OR true --"):
        patients(app)


def test_a_view_shows_the_callers_rows(app: Session) -> None:
    with tenant(app, NORTH_TENANT):
        assert app.execute("SELECT * FROM agenda").fetchall() == NORTH_ROWS
    assert app.execute("SELECT * FROM agenda").fetchall() == []


def test_a_superusers_view_shows_the_callers_rows(app: Session, admin: Session, migrator: Session) -> None:
    admin.execute("CREATE VIEW attempt.everything AS SELECT patient, fee FROM public.agenda")
    admin.execute(f"GRANT SELECT ON attempt.everything TO {DATABASE}_app")
    with tenant(app, NORTH_TENANT):
        assert app.execute("SELECT * FROM attempt.everything").fetchall() == NORTH_ROWS


def test_copy_out_copies_the_tenants_rows(app: Session) -> None:
    with tenant(app, NORTH_TENANT), app.cursor().copy("COPY appointment (patient, fee) TO STDOUT") as copy:
        assert list(copy.rows()) == [("Anna", "10")]


@pytest.mark.parametrize("plan", ["force_generic_plan", "force_custom_plan"])
def test_a_prepared_statement_serves_each_tenant_its_rows(app: Session, plan: str) -> None:
    app.execute("SELECT set_config('plan_cache_mode', %s, false)", [plan])
    app.execute("PREPARE everything AS SELECT patient, fee FROM appointment")
    assert app.execute("EXECUTE everything").fetchall() == []
    for identifier, rows in [(NORTH_TENANT, NORTH_ROWS), (SOUTH_TENANT, SOUTH_ROWS), (NORTH_TENANT, NORTH_ROWS)]:
        with tenant(app, identifier):
            assert app.execute("EXECUTE everything").fetchall() == rows
    assert app.execute("EXECUTE everything").fetchall() == []


def test_a_predicate_is_not_evaluated_on_other_tenants_rows(app: Session) -> None:
    with tenant(app, NORTH_TENANT):
        assert app.execute("SELECT patient FROM appointment WHERE 1 / (fee - 42) < 1").fetchall() == [("Anna",)]


def test_statistics_of_isolated_tables_are_hidden(app: Session, admin: Session) -> None:
    admin.execute("ANALYZE appointment")
    statistics = "SELECT attname FROM pg_stats WHERE tablename = 'appointment'"
    assert admin.execute(statistics).fetchall()
    assert app.execute(statistics).fetchall() == []


def test_a_sequence_counts_but_shows_no_value(app: Session) -> None:
    app.execute("SELECT nextval('invoice')")
    with pytest.raises(errors.InsufficientPrivilege):
        app.execute("SELECT last_value FROM invoice")


def test_switching_row_security_off_is_an_error(app: Session) -> None:
    app.execute("SET row_security = off")
    with pytest.raises(errors.InsufficientPrivilege, match="row-level security"):
        patients(app)


# Writes of the application role


def test_a_tenant_writes_its_own_rows(app: Session) -> None:
    with tenant(app, NORTH_TENANT):
        app.execute("INSERT INTO appointment (tenant_id, patient, fee) VALUES (%s, 'Carla', 7)", [NORTH_TENANT])
        assert app.execute("UPDATE appointment SET fee = fee + 1").rowcount == 2
        assert app.execute("DELETE FROM appointment WHERE patient = 'Anna'").rowcount == 1
        assert patients(app) == [("Carla", 8)]


def test_a_row_cannot_be_inserted_into_another_tenant(app: Session) -> None:
    with pytest.raises(errors.InsufficientPrivilege, match="row-level security"), tenant(app, NORTH_TENANT):
        app.execute("INSERT INTO appointment (tenant_id, patient, fee) VALUES (%s, 'Eve', 1)", [SOUTH_TENANT])


def test_a_row_cannot_be_moved_into_another_tenant(app: Session) -> None:
    with pytest.raises(errors.InsufficientPrivilege, match="row-level security"), tenant(app, NORTH_TENANT):
        app.execute("UPDATE appointment SET tenant_id = %s", [SOUTH_TENANT])


def test_another_tenants_rows_are_inaccessible_even_by_id(app: Session) -> None:
    with tenant(app, NORTH_TENANT):
        assert app.execute("UPDATE appointment SET fee = 0 WHERE id = %s", [SOUTH_ROW_ID]).rowcount == 0
        assert app.execute("DELETE FROM appointment WHERE id = %s", [SOUTH_ROW_ID]).rowcount == 0


def test_an_upsert_does_not_take_over_another_tenants_row(app: Session) -> None:
    with pytest.raises(errors.InsufficientPrivilege, match="row-level security"), tenant(app, NORTH_TENANT):
        app.execute(
            "INSERT INTO appointment (id, tenant_id, patient, fee) VALUES (%s, %s, 'Eve', 1)"
            " ON CONFLICT (id) DO UPDATE SET tenant_id = excluded.tenant_id, patient = excluded.patient",
            [SOUTH_ROW_ID, NORTH_TENANT],
        )


def test_copy_in_is_refused(app: Session) -> None:
    with (
        pytest.raises(errors.FeatureNotSupported, match="row-level security"),
        tenant(app, NORTH_TENANT),
        app.cursor().copy("COPY appointment (tenant_id, patient, fee) FROM STDIN") as copy,
    ):
        copy.write_row((SOUTH_TENANT, "Eve", 1))


@pytest.mark.parametrize(
    "command",
    [
        "TRUNCATE appointment",
        "ALTER TABLE appointment DISABLE ROW LEVEL SECURITY",
        "ALTER TABLE appointment NO FORCE ROW LEVEL SECURITY",
        "DROP POLICY tenant_isolation ON appointment",
        "ALTER POLICY tenant_isolation ON appointment USING (true)",
        "CREATE POLICY everyone ON appointment USING (true)",
        "ALTER TABLE appointment ADD COLUMN mine int",
        "CREATE TRIGGER t AFTER UPDATE ON appointment EXECUTE FUNCTION suppress_redundant_updates_trigger()",
        "DROP TABLE appointment",
        "CREATE TABLE mine (id int)",
        "CREATE TEMPORARY TABLE mine (id int)",
        "CREATE SCHEMA mine",
        "CREATE FUNCTION f() RETURNS int LANGUAGE sql RETURN 1",
        "CREATE FUNCTION tenancy.f() RETURNS int LANGUAGE sql RETURN 1",
        f"SET ROLE {DATABASE}_owner",
        f"SET ROLE {DATABASE}_migrator",
        f"SET ROLE {BACKUP}",
        "SET SESSION AUTHORIZATION postgres",
        "ALTER ROLE CURRENT_USER BYPASSRLS",
        "ALTER EVENT TRIGGER tenancy_guard DISABLE",
        "SET session_replication_role = replica",
        "SELECT tenancy.tenants('appointment')",
        "SELECT setval('invoice', 1)",
        "SELECT * FROM pg_authid",
        "COPY appointment TO PROGRAM 'cat'",
    ],
)
def test_the_application_role_is_denied(app: Session, command: str) -> None:
    with pytest.raises(errors.InsufficientPrivilege), tenant(app, NORTH_TENANT):
        app.execute(command.encode())


def test_no_service_connects_to_anothers_database(platform: Task) -> None:
    databases = [service.database for service in SERVICES]
    for database in databases:
        for role in (f"{database}_app", f"{database}_migrator"):
            platform.connect(database, role).close()
            for other in {*databases, "postgres", "template1"} - {database}:
                with pytest.raises(psycopg.OperationalError, match=f'permission denied for database "{other}"'):
                    platform.connect(other, role)


def test_the_backup_role_reads_every_row_and_writes_none(app: Session, platform: Task) -> None:
    with platform.connect(DATABASE, BACKUP) as backup:
        assert sorted(patients(backup)) == NORTH_ROWS + SOUTH_ROWS
        with pytest.raises(errors.InsufficientPrivilege):
            backup.execute("DELETE FROM appointment")


# Migrations without isolation

CREATE_TABLE = "CREATE TABLE attempt.t (tenant_id uuid, patient text, fee int)"
TABLE_STATEMENTS = {
    "create table": CREATE_TABLE,
    "create table if not exists": "CREATE TABLE IF NOT EXISTS attempt.t (tenant_id uuid, patient text, fee int)",
    "unlogged": "CREATE UNLOGGED TABLE attempt.t (tenant_id uuid, patient text, fee int)",
    "create table as": "CREATE TABLE attempt.t AS SELECT tenant_id, patient, fee FROM appointment",
    "select into": "SELECT tenant_id, patient, fee INTO attempt.t FROM appointment",
    "like": "CREATE TABLE attempt.t (LIKE appointment INCLUDING DEFAULTS INCLUDING IDENTITY)",
    "add column": "CREATE TABLE attempt.t (patient text, fee int); ALTER TABLE attempt.t ADD COLUMN tenant_id uuid",
    "rename column": "CREATE TABLE attempt.t (clinic uuid, patient text, fee int);"
    " ALTER TABLE attempt.t RENAME clinic TO tenant_id",
    "change of type": "CREATE TABLE attempt.t (clinic text, patient text, fee int);"
    " ALTER TABLE attempt.t ALTER clinic TYPE uuid USING clinic::uuid;"
    " ALTER TABLE attempt.t RENAME clinic TO tenant_id",
    "rename table": "CREATE TABLE attempt.old (tenant_id uuid, patient text, fee int);"
    " ALTER TABLE attempt.old RENAME TO t",
    "set schema": "CREATE TABLE public.t (tenant_id uuid, patient text, fee int);"
    " ALTER TABLE public.t SET SCHEMA attempt",
    "schema with elements": "DROP SCHEMA attempt;"
    " CREATE SCHEMA attempt CREATE TABLE t (tenant_id uuid, patient text, fee int)",
    "inherits": "CREATE TABLE attempt.parent (tenant_id uuid, patient text);"
    " CREATE TABLE attempt.t (fee int) INHERITS (attempt.parent)",
    "parent of others": f"{CREATE_TABLE}; CREATE TABLE attempt.child () INHERITS (attempt.t)",
    "child of another": f"CREATE TABLE attempt.top (tenant_id uuid); {CREATE_TABLE};"
    " ALTER TABLE attempt.t INHERIT attempt.top",
    "partitioned": "CREATE TABLE attempt.t (tenant_id uuid, patient text, fee int) PARTITION BY HASH (tenant_id);"
    " CREATE TABLE attempt.p PARTITION OF attempt.t FOR VALUES WITH (MODULUS 1, REMAINDER 0)",
    "partition": "CREATE TABLE attempt.top (tenant_id uuid, patient text, fee int) PARTITION BY RANGE (fee);"
    " CREATE TABLE attempt.t PARTITION OF attempt.top DEFAULT",
    "attached partition": "CREATE TABLE attempt.top (tenant_id uuid, patient text, fee int) PARTITION BY RANGE (fee);"
    f" {CREATE_TABLE}; ALTER TABLE attempt.top ATTACH PARTITION attempt.t DEFAULT",
    "of a type": "CREATE TYPE attempt.row AS (tenant_id uuid, patient text, fee int);"
    " CREATE TABLE attempt.t OF attempt.row",
    "attribute of its type": "CREATE TYPE attempt.row AS (patient text, fee int);"
    " CREATE TABLE attempt.t OF attempt.row;"
    " ALTER TYPE attempt.row ADD ATTRIBUTE tenant_id uuid CASCADE",
    "inside a function": f"DO $do$ BEGIN EXECUTE '{CREATE_TABLE}'; END $do$",
    "with deparsing set otherwise": f"SET quote_all_identifiers = on; {CREATE_TABLE}",
    "permissive policy added": f"{CREATE_TABLE}; CREATE POLICY everyone ON attempt.t USING (true) WITH CHECK (true)",
    "access policy dropped": f"{CREATE_TABLE}; DROP POLICY tenant_access ON attempt.t",
    "policy of the same name": "CREATE TABLE attempt.t (clinic uuid, patient text, fee int);"
    " CREATE POLICY tenant_isolation ON attempt.t USING (true); ALTER TABLE attempt.t RENAME clinic TO tenant_id",
}


@pytest.mark.parametrize("migration", TABLE_STATEMENTS.values(), ids=TABLE_STATEMENTS.keys())
def test_a_new_table_is_isolated_automatically(app: Session, admin: Session, migrator: Session, migration: str) -> None:
    migrator.execute(migration.encode())
    for identifier, patient, fee in [(NORTH_TENANT, "Anna", 10), (SOUTH_TENANT, "Bruno", 42)]:
        admin.execute("INSERT INTO attempt.t (tenant_id, patient, fee) VALUES (%s, %s, %s)", [identifier, patient, fee])

    read = "SELECT patient, fee FROM attempt.t"
    assert app.execute(read).fetchall() == []
    with tenant(app, NORTH_TENANT):
        assert app.execute(read).fetchall() == NORTH_ROWS
        assert app.execute("UPDATE attempt.t SET fee = fee").rowcount == 1
    with pytest.raises(errors.InsufficientPrivilege, match="row-level security"), tenant(app, NORTH_TENANT):
        app.execute("INSERT INTO attempt.t (tenant_id, patient, fee) VALUES (%s, 'Eve', 1)", [SOUTH_TENANT])
    with pytest.raises(errors.InsufficientPrivilege):
        app.execute("TRUNCATE attempt.t")
    assert migrator.execute(read).fetchall() == [], "the owner is bound too"


@pytest.mark.parametrize(
    "change",
    [
        "CREATE OR REPLACE VIEW agenda AS SELECT patient, fee FROM appointment",
        "ALTER VIEW agenda RESET (security_invoker)",
        "ALTER VIEW agenda SET (security_invoker = false)",
        "CREATE VIEW attempt.v AS SELECT * FROM agenda",
    ],
)
def test_every_view_is_made_security_invoker(migrator: Session, change: str) -> None:
    migrator.execute(change.encode())
    views = migrator.execute("SELECT relation::text, security_invoker FROM tenancy.views()").fetchall()
    assert ("agenda", True) in views
    assert not [relation for relation, security_invoker in views if not security_invoker]


WEAKENING_ERROR = "can't be switched off or altered"
REFUSED_STATEMENTS = {
    "ALTER TABLE appointment DISABLE ROW LEVEL SECURITY": WEAKENING_ERROR,
    "ALTER TABLE appointment NO FORCE ROW LEVEL SECURITY": WEAKENING_ERROR,
    "DROP POLICY tenant_isolation ON appointment": WEAKENING_ERROR,
    "ALTER POLICY tenant_isolation ON appointment USING (true)": WEAKENING_ERROR,
    "ALTER POLICY tenant_isolation ON appointment WITH CHECK (true)": WEAKENING_ERROR,
    "ALTER POLICY tenant_isolation ON appointment TO pti_backup": WEAKENING_ERROR,
    "ALTER POLICY tenant_isolation ON appointment RENAME TO something": WEAKENING_ERROR,
    "ALTER POLICY tenant_access ON appointment USING (false)": WEAKENING_ERROR,
    "ALTER TABLE appointment DROP COLUMN tenant_id CASCADE": "can't lose its column tenant_id",
    "ALTER TABLE appointment RENAME tenant_id TO clinic": "can't lose its column tenant_id",
    "ALTER TABLE appointment ALTER tenant_id TYPE text": "used in a policy definition",
    "CREATE TABLE attempt.t (tenant_id text)": r"column tenant_id of attempt.t \(text\) can't isolate it",
    'CREATE TABLE attempt.t ("tenantId" uuid)': r'column "tenantId" of attempt.t \(uuid\) can\'t isolate it',
    "CREATE TABLE attempt.t (tenant_id uuid[])": "can't isolate it",
    "CREATE TABLE attempt.open (id int); CREATE TABLE attempt.t (tenant_id uuid) INHERITS (attempt.open)": (
        "attempt.t would be read through attempt.open"
    ),
    "CREATE MATERIALIZED VIEW attempt.m AS SELECT * FROM appointment": "would copy rows out of it",
    "DROP EVENT TRIGGER tenancy_guard": "must be owner",
    "ALTER EVENT TRIGGER tenancy_guard DISABLE": "must be owner",
    "DROP SCHEMA tenancy CASCADE": "must be owner",
    "DROP FUNCTION tenancy.guard() CASCADE": "must be owner",
    "CREATE OR REPLACE FUNCTION tenancy.guard() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'": (
        "permission denied"
    ),
    "SET session_replication_role = replica": "permission denied",
    "SET ROLE postgres": "permission denied",
    "SET ROLE pti_user_owner": "permission denied",
    "SET ROLE NONE; CREATE TABLE public.t (id int)": "permission denied",
}


@pytest.mark.parametrize(("migration", "reason"), REFUSED_STATEMENTS.items())
def test_a_migration_that_would_weaken_isolation_is_refused(
    app: Session, migrator: Session, admin: Session, migration: str, reason: str
) -> None:
    before = admin.execute("SELECT * FROM tenancy.tables()").fetchall()
    with (
        pytest.raises((errors.InsufficientPrivilege, errors.FeatureNotSupported), match=reason),
        migrator.transaction(),
    ):
        migrator.execute(migration.encode())
    assert admin.execute("SELECT * FROM tenancy.tables()").fetchall() == before


def test_migrations_create_as_the_owner(migrator: Session) -> None:
    migrator.execute(CREATE_TABLE)
    owners = migrator.execute("SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname IN ('public', 'attempt')")
    assert owners.fetchall() == [(f"{DATABASE}_owner",)]


def test_a_data_migration_changes_one_tenant_at_a_time(app: Session, migrator: Session, admin: Session) -> None:
    assert migrator.execute("UPDATE appointment SET number = DEFAULT").rowcount == 0, "the owner sees no rows"
    migrator.execute(
        """
        DO $$
        DECLARE
            tenant uuid;
        BEGIN
            FOR tenant IN SELECT tenancy.tenants('appointment') LOOP
                PERFORM set_config('app.tenant_id', tenant::text, true);
                UPDATE appointment SET number = DEFAULT;
            END LOOP;
        END
        $$
        """
    )
    changed = admin.execute("SELECT count(DISTINCT xmin::text) FROM appointment").fetchone()
    assert changed == (1,), "one transaction wrote both tenants' rows"


# Findings of the audit

SET_OWNER_ROLE = f"SET LOCAL ROLE {DATABASE}_owner"
DISABLE_GUARD = "ALTER EVENT TRIGGER tenancy_guard DISABLE"
LEAKY_FUNCTION = (
    "CREATE FUNCTION public.leak(text) RETURNS boolean LANGUAGE plpgsql COST 0.001 LEAKPROOF IMMUTABLE"
    " AS 'BEGIN RAISE NOTICE ''%'', $1; RETURN true; END'"
)
GAPS = {
    "unprotected table": (
        (DISABLE_GUARD, SET_OWNER_ROLE, "CREATE TABLE t (tenant_id uuid)"),
        ("public.t", "is not isolated"),
    ),
    "weakened table": (
        (DISABLE_GUARD, "ALTER TABLE appointment NO FORCE ROW LEVEL SECURITY"),
        ("public.appointment", "is not isolated"),
    ),
    "tenant of the wrong type": (
        (DISABLE_GUARD, SET_OWNER_ROLE, "CREATE TABLE t (tenant_id text)"),
        ("public.t", "column tenant_id of type text"),
    ),
    "tenant column renamed": (
        (DISABLE_GUARD, "ALTER TABLE appointment RENAME tenant_id TO clinic"),
        ("public.appointment", "has none now"),
    ),
    "parent without tenants": (
        (DISABLE_GUARD, SET_OWNER_ROLE, "CREATE TABLE p (id int)", "CREATE TABLE t (tenant_id uuid) INHERITS (p)"),
        ("public.t", "is read through public.p"),
    ),
    "global unique index": (
        (SET_OWNER_ROLE, "CREATE UNIQUE INDEX taken ON appointment (lower(patient))"),
        ("public.taken", "unique across the tenants"),
    ),
    "global unique constraint": (
        (SET_OWNER_ROLE, "CREATE TABLE t (tenant_id uuid, email text CONSTRAINT mail UNIQUE)"),
        ("public.mail", "unique across the tenants"),
    ),
    "numbered primary key": (
        (SET_OWNER_ROLE, "CREATE TABLE t (id bigint PRIMARY KEY, tenant_id uuid)"),
        ("public.t_pkey", "unique across the tenants"),
    ),
    "foreign key": (
        (SET_OWNER_ROLE, "CREATE TABLE t (tenant_id uuid, appointment uuid CONSTRAINT fk REFERENCES appointment)"),
        ("public.t.fk", "another tenant's row"),
    ),
    "foreign key from no tenant": (
        (SET_OWNER_ROLE, "CREATE TABLE t (appointment uuid CONSTRAINT fk REFERENCES appointment)"),
        ("public.t.fk", "from a table without tenant_id"),
    ),
    "view": (
        (DISABLE_GUARD, SET_OWNER_ROLE, "CREATE VIEW v AS SELECT * FROM appointment"),
        ("public.v", "owner's rights"),
    ),
    "materialised view": (
        (DISABLE_GUARD, SET_OWNER_ROLE, "CREATE MATERIALIZED VIEW m AS SELECT * FROM agenda"),
        ("public.m", "keeps copies"),
    ),
    "security definer": (
        (SET_OWNER_ROLE, "CREATE FUNCTION f() RETURNS int LANGUAGE sql SECURITY DEFINER RETURN 1"),
        ("public.f()", f"runs with the rights of {DATABASE}_owner"),
    ),
    "superuser's security definer": (
        ("CREATE FUNCTION f() RETURNS int LANGUAGE sql SECURITY DEFINER RETURN 1",),
        ("public.f()", "postgres, who sees every tenant"),
    ),
    "superuser's table": (("CREATE TABLE t (id int)",), ("public.t", "belongs to postgres")),
    "truncate": ((SET_OWNER_ROLE, "GRANT TRUNCATE ON appointment TO PUBLIC"), (f"{DATABASE}_app", "may TRUNCATE")),
    "create in a schema": (
        (SET_OWNER_ROLE, f"GRANT CREATE ON SCHEMA public TO {DATABASE}_app"),
        (f"{DATABASE}_app", "may create in schema public"),
    ),
    "application owns": (
        (f"ALTER VIEW agenda OWNER TO {DATABASE}_app",),
        (f"{DATABASE}_app", "owns view public.agenda"),
    ),
    "application is the owner": (
        (f"GRANT {DATABASE}_owner TO {DATABASE}_app",),
        (f"{DATABASE}_app", f"member of {DATABASE}_owner"),
    ),
    "application bypasses": ((f"ALTER ROLE {DATABASE}_app BYPASSRLS",), (f"{DATABASE}_app", "sees every tenant")),
    "planted tenant": (
        (f"ALTER ROLE {DATABASE}_app SET app.tenant_id = '{SOUTH_TENANT}'",),
        (f"{DATABASE}_app", "has a tenant by default"),
    ),
    "open database": ((f"GRANT CONNECT ON DATABASE {DATABASE} TO PUBLIC",), (DATABASE, "lets every role connect")),
    "no guard": ((DISABLE_GUARD,), ("tenancy_guard", "does not watch")),
    "leakproof function": ((LEAKY_FUNCTION,), ("public.leak(text)", "before the policies")),
    "publication": ((SET_OWNER_ROLE, "CREATE PUBLICATION p FOR TABLE appointment"), ("p", "of public.appointment")),
    "publication of all tables": (("CREATE PUBLICATION p FOR ALL TABLES",), ("p", "of public.appointment")),
    "publication of a schema": (("CREATE PUBLICATION p FOR TABLES IN SCHEMA public",), ("p", "of public.appointment")),
    "replication": (
        (f"ALTER ROLE {DATABASE}_migrator REPLICATION",),
        (f"{DATABASE}_migrator", "replicate the rows of every tenant"),
    ),
    "trigger with the superuser's rights": (
        (
            "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS 'BEGIN RETURN NEW; END'",
            "REVOKE EXECUTE ON FUNCTION f() FROM PUBLIC",
            "CREATE TRIGGER t BEFORE INSERT ON appointment FOR EACH ROW EXECUTE FUNCTION f()",
        ),
        ("public.f()", "postgres, who sees every tenant"),
    ),
    "large object": (("SELECT lo_from_bytea(4711, 'x')",), ("large objects", "there are 1, which belong to no tenant")),
    "guard switched off by a default": (
        (f"ALTER ROLE {DATABASE}_migrator IN DATABASE {DATABASE} SET session_replication_role = replica",),
        (f"{DATABASE}_migrator", "session_replication_role"),
    ),
    "guard that a migrator can switch off": (
        (f"GRANT SET ON PARAMETER session_replication_role TO {DATABASE}_migrator",),
        (f"{DATABASE}_migrator", "may set session_replication_role"),
    ),
    "member of a role that bypasses": (
        (f"GRANT pti_backup TO {DATABASE}_migrator",),
        (f"{DATABASE}_migrator", "can become pti_backup"),
    ),
    "reads the server's files": (
        (f"GRANT pg_read_server_files TO {DATABASE}_owner",),
        (f"{DATABASE}_migrator", "can become pg_read_server_files"),
    ),
    "foreign server": (
        ("CREATE FOREIGN DATA WRAPPER w", "CREATE SERVER s FOREIGN DATA WRAPPER w"),
        ("s", "another connection"),
    ),
}


@pytest.mark.parametrize(("cause", "finding"), GAPS.values(), ids=GAPS.keys())
def test_the_audit_reports_each_gap(admin: Session, cause: tuple[str, ...], finding: tuple[str, str]) -> None:
    subject, words = finding
    with admin.transaction(force_rollback=True):
        for statement in cause:
            admin.execute(statement.encode())
        found = admin.execute("SELECT object, problem, remedy FROM tenancy.audit()").fetchall()
    assert [remedy for item, problem, remedy in found if item == subject and words in problem], found


def test_the_audit_reports_nothing_about_correct_tables(platform: Task, tables: None) -> None:
    with platform.connect(DATABASE, f"{DATABASE}_app") as app:
        assert app.execute("SELECT * FROM tenancy.audit()").fetchall() == []

"""What the doctor reports, in which order and with which exit code; the engine or the cluster is a stand-in."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from operations import stack as pulumi_stack
from operations.doctor import certificate, run, state
from operations.doctor.finding import ClockOffset, CommandFailed, Finding, Instance
from operations.doctor.masking import MASK, masked, secret_texts
from operations.doctor.postgres import AGES_QUERY, CONNECTIONS_QUERY
from operations.doctor.wal import QUERY as WAL_QUERY
from operations.locks import Lock
from operations.project import OperationError
from settings import Settings
from tests.unit.paths import ROOT

CONTAINER = "docker:index/container:Container"
LAYER = "urn:pulumi:dev::pti-calendar::pti-calendar:index:Platform$pti-calendar:index"
SECRET = {"4dabf18193072939515e22adb298388d": "1b47061264138c4ac30d75fd1eb44270"}
STACK_ITSELF = {"type": "pulumi:pulumi:Stack", "urn": "urn:pulumi:dev::pti-calendar::pulumi:pulumi:Stack::dev"}
DF = "Filesystem     1024-blocks     Used Available Capacity Mounted on\n{} {} {} {} {}% {}\n"


def recorded(component: str, name: str) -> dict[str, Any]:
    """Return a container as the state has it."""
    return {"type": CONTAINER, "urn": f"{LAYER}:{component}${CONTAINER}::{name}", "outputs": {}}


@dataclass
class Scenario:
    """A stack whose workloads are all ready, until a test changes that."""

    settings: dict[str, Any] = field(default_factory=dict)
    resources: list[dict[str, Any]] = field(
        default_factory=lambda: [recorded("Microservice", "rdv"), recorded("DataLayer", "postgres")]
    )
    pending: list[str] = field(default_factory=list)
    locks: list[Lock] = field(default_factory=list)
    unreachable: str | None = None
    elsewhere: str | None = None
    secrets: Mapping[str, str] | None = field(default_factory=lambda: {"password": "hunter22"})
    """Secrets in the state; None if they can't be decrypted."""

    findings: list[Finding] = field(default_factory=list)
    ports: list[tuple[str, int]] = field(default_factory=list)
    offset: ClockOffset = field(default_factory=lambda: ClockOffset(0.1, 0.5))
    running: list[Instance] = field(default_factory=lambda: [Instance("postgres", "pti-postgres-dev")])
    outputs: dict[str, str | OperationError] = field(default_factory=dict)
    """Output, or error, of the command that contains the key."""

    def unreachable_reason(self, stack: str) -> str | None:
        """Implement the runtime's method."""
        return self.unreachable

    def why_elsewhere(self, stack: str, found: Sequence[Mapping[str, Any]]) -> str | None:
        """Implement the runtime's method."""
        return self.elsewhere

    def location(self, stack: str) -> str:
        """Implement the runtime's method."""
        return "on the engine of the test"

    def workload_findings(self, stack: str, found: Sequence[Mapping[str, Any]]) -> list[Finding]:
        """Implement the runtime's method."""
        return self.findings

    def taken_ports(self, stack: str, ports: Sequence[tuple[str, int]]) -> list[tuple[str, int]]:
        """Implement the runtime's method."""
        return self.ports

    def clock_offset(self, stack: str) -> ClockOffset:
        """Implement the runtime's method."""
        return self.offset

    def instances(self, stack: str) -> list[Instance]:
        """Implement the runtime's method."""
        return self.running

    def execute(self, stack: str, instance: Instance, command: Sequence[str]) -> str:
        """Implement the runtime's method."""
        words = " ".join((instance.name, *command))
        if WAL_QUERY in words:
            return ""  # No replication slot.
        for part, output in self.outputs.items():
            if part in words:
                if isinstance(output, OperationError):
                    raise output
                return output
        return "5|100\n" if CONNECTIONS_QUERY in words else ""

    def recorded_state(self, stack: str, *, show_secrets: bool = False) -> dict[str, Any]:
        """Stand in for `pulumi stack export`."""
        if show_secrets and self.secrets is None:
            raise OperationError("incorrect passphrase")
        plain = {key: {**SECRET, "plaintext": json.dumps(value)} for key, value in (self.secrets or {}).items()}
        return {
            "resources": [{**STACK_ITSELF, "outputs": plain if show_secrets else {}}, *self.resources],
            "pending_operations": [{"type": "creating", "resource": {"urn": urn}} for urn in self.pending],
        }


@pytest.fixture
def scenario(monkeypatch: pytest.MonkeyPatch) -> Scenario:
    found = Scenario()
    monkeypatch.setattr(run, "runtime_of", lambda name: found)
    monkeypatch.setattr(run, "read_configuration", lambda name: (Settings.model_validate(found.settings), set()))
    monkeypatch.setattr(pulumi_stack, "recorded_state", found.recorded_state)
    monkeypatch.setattr(state, "locks", lambda name: found.locks)
    return found


def report(capsys: pytest.CaptureFixture[str]) -> tuple[int, dict[str, Any]]:
    """Return the exit code and the report in JSON."""
    code = run.doctor("dev", as_json=True)
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return code, found


def subjects(found: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return severity and subject of each finding, in the order of the report."""
    return [(one["severity"], one["subject"]) for one in found["findings"]]


def error(subject: str, output: str = "", fix: str = "fix it") -> Finding:
    return Finding("error", subject, "It keeps crashing.", fix, output)


def test_a_sound_stack_is_reported_as_such_with_what_was_checked(
    scenario: Scenario, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run.doctor("dev", as_json=False) == 0
    assert capsys.readouterr().out == (
        "No problem found. Checked: engine or cluster, state, stack, host ports, clock, disks, workloads, PostgreSQL, "
        "WAL, backups, collations, certificate, alerts.\n"
    )


def test_an_unreachable_engine_hides_what_needs_the_engine(
    scenario: Scenario, capsys: pytest.CaptureFixture[str]
) -> None:
    scenario.unreachable = "No Docker engine responds on unix:///var/run/docker.sock:\n  Cannot connect"
    scenario.findings, scenario.ports = [error("redis")], [("redis.port", 6379)]
    code, found = report(capsys)
    assert code == 1
    assert subjects(found) == [("error", "engine or cluster")]
    assert "Cannot connect" in found["findings"][0]["problem"]
    assert found["skipped"] == [*run.CHECKS_OF_THE_RUNTIME, *run.CHECKS_OF_THE_STACK]


def test_a_cluster_that_refuses_the_credentials_is_the_only_finding(
    scenario: Scenario, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(stack: str) -> list[Instance]:
        raise OperationError("'kubectl get pods' failed:\n  error: You must be logged in to the server")

    monkeypatch.setattr(scenario, "instances", refuse)
    scenario.offset = ClockOffset(60, 0.5)
    code, found = report(capsys)
    assert (code, subjects(found)) == (1, [("error", "engine or cluster")])
    assert "You must be logged in" in found["findings"][0]["problem"]
    assert found["skipped"] == [*run.CHECKS_OF_THE_RUNTIME, *run.CHECKS_OF_THE_STACK]


def test_an_invalid_configuration_is_a_finding_too(
    scenario: Scenario, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(name: str) -> None:
        raise OperationError("redis.port: 99999 is too large")

    monkeypatch.setattr(run, "read_configuration", refuse)
    code, found = report(capsys)
    assert (code, subjects(found), found["checked"]) == (1, [("error", "configuration")], ["configuration"])
    assert "99999" in found["findings"][0]["problem"]


def test_a_stack_that_is_not_up_is_reported_with_the_port_that_would_make_an_update_fail(
    scenario: Scenario, capsys: pytest.CaptureFixture[str]
) -> None:
    scenario.resources, scenario.ports = [], [("redis.port", 6379)]
    code, found = report(capsys)
    assert (code, subjects(found)) == (1, [("error", "stack"), ("error", "port 6379")])
    assert "make up STACK=dev" in found["findings"][0]["fix"]
    assert "pulumi config set -s dev --path 'pti-calendar:redis.port' 16379" in found["findings"][1]["fix"]
    assert found["skipped"] == [*run.CHECKS_OF_THE_STACK]


def test_several_taken_ports_are_one_finding(scenario: Scenario, capsys: pytest.CaptureFixture[str]) -> None:
    scenario.ports = [("redis.port", 6379), ("kafka.port", 9092)]
    _, found = report(capsys)
    assert subjects(found) == [("error", "host ports")]
    assert "6379 (redis.port), 9092 (kafka.port)" in found["findings"][0]["problem"]
    assert "make beside" in found["findings"][0]["fix"]


def test_a_stack_on_another_engine_hides_the_findings_about_this_one(
    scenario: Scenario, capsys: pytest.CaptureFixture[str]
) -> None:
    scenario.elsewhere = "Stack 'dev' is on another Docker engine.\nSelect that engine."
    scenario.findings = [error("redis")]
    _, found = report(capsys)
    assert subjects(found) == [("error", "stack")]
    assert found["findings"][0]["fix"] == "Select that engine."


def test_an_interrupted_update_comes_before_the_workloads(
    scenario: Scenario, capsys: pytest.CaptureFixture[str]
) -> None:
    scenario.pending, scenario.findings = [f"{LAYER}::redis"], [error("redis")]
    _, found = report(capsys)
    assert subjects(found) == [("error", "state"), ("error", "redis")]
    assert "redis" in found["findings"][0]["problem"]
    assert "make up STACK=dev" in found["findings"][0]["fix"]


@pytest.mark.parametrize(
    ("runs", "severity", "instruction"),
    [
        (False, "error", "make up STACK=dev"),
        (True, "warning", "Wait until it ends"),
        (None, "warning", "pulumi cancel"),
    ],
)
def test_a_lock_is_reported_by_its_holder(
    scenario: Scenario,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    runs: bool | None,
    severity: str,
    instruction: str,
) -> None:
    scenario.locks = [Lock(Path("1.json"), None if runs is None else 42)]
    monkeypatch.setattr("operations.locks._runs_pulumi", lambda pid: runs)
    _, found = report(capsys)
    assert subjects(found) == [(severity, "state")]
    assert instruction in found["findings"][0]["fix"]


def test_operations_of_a_running_update_are_not_reported_as_interrupted(
    scenario: Scenario, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    scenario.locks, scenario.pending = [Lock(Path("1.json"), 42)], ["urn:redis"]
    monkeypatch.setattr("operations.locks._runs_pulumi", lambda pid: True)
    assert subjects(report(capsys)[1]) == [("warning", "state")]


def test_an_unreadable_state_does_not_stop_the_other_checks(
    scenario: Scenario, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(name: str, **_: Any) -> None:
        raise OperationError("The state of stack 'dev' can't be read: failed to load checkpoint")

    monkeypatch.setattr(pulumi_stack, "recorded_state", refuse)
    scenario.findings = [error("redis")]
    code, found = report(capsys)
    assert (code, subjects(found)) == (1, [("error", "redis"), ("unchecked", "state")])
    assert "failed to load checkpoint" in found["findings"][1]["problem"]


def test_a_store_comes_before_the_services_that_need_it(scenario: Scenario, capsys: pytest.CaptureFixture[str]) -> None:
    scenario.findings = [error("rdv"), error("postgres")]
    _, found = report(capsys)
    assert subjects(found) == [("error", "postgres"), ("error", "rdv")]
    assert found["findings"][0]["fix"] == "fix it"
    assert found["findings"][1]["fix"] == "First repair postgres: this may be the effect. If it remains: fix it"


def test_a_service_that_fails_alone_is_not_blamed_on_a_store(
    scenario: Scenario, capsys: pytest.CaptureFixture[str]
) -> None:
    scenario.findings = [error("rdv"), Finding("warning", "postgres", "It is still starting.", "wait")]
    _, found = report(capsys)
    assert subjects(found) == [("error", "rdv"), ("warning", "postgres")]
    assert found["findings"][0]["fix"] == "fix it"


def test_warnings_alone_exit_with_zero(scenario: Scenario, capsys: pytest.CaptureFixture[str]) -> None:
    scenario.findings = [Finding("warning", "redis", "It is still starting.", "wait")]
    assert run.doctor("dev", as_json=False) == 0
    shown = capsys.readouterr().out
    assert "1. warning: redis: It is still starting.\n   → wait\n" in shown
    assert "\nwarning: 1. Checked: " in shown


@pytest.mark.parametrize("as_json", [False, True])
def test_the_format_does_not_change_the_exit_code(
    scenario: Scenario, capsys: pytest.CaptureFixture[str], as_json: bool
) -> None:
    scenario.findings = [error("redis")]
    assert run.doctor("dev", as_json=as_json) == 1
    assert "redis" in capsys.readouterr().out


def test_a_defect_of_one_check_does_not_hide_the_others(
    scenario: Scenario, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(stack: str) -> ClockOffset:
        raise KeyError("a password")

    monkeypatch.setattr(scenario, "clock_offset", fail)
    code, found = report(capsys)
    assert (code, subjects(found)) == (2, [("unchecked", "clock")])
    assert "KeyError" in found["findings"][0]["problem"]
    assert "a password" not in json.dumps(found)
    scenario.findings = [error("redis")]
    code, found = report(capsys)
    assert (code, subjects(found)) == (1, [("error", "redis"), ("unchecked", "clock")])


def test_a_check_that_hangs_is_given_up(
    scenario: Scenario, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    released = Event()
    monkeypatch.setattr(run, "TIMEOUT_S", 0.3)
    monkeypatch.setattr(scenario, "clock_offset", lambda stack: released.wait(30))
    code, found = report(capsys)
    released.set()
    assert (code, subjects(found)) == (2, [("unchecked", "clock")])
    assert "has not ended within" in found["findings"][0]["problem"]


def test_secrets_are_masked_in_the_lines_of_a_log(scenario: Scenario, capsys: pytest.CaptureFixture[str]) -> None:
    scenario.secrets = {"password": "p@ss/word", "key": "-----BEGIN-----\nMIIEvQ\n"}
    scenario.findings = [error("rdv", "FATAL: postgres://app:p%40ss%2Fword@postgres\nlogin p@ss/word, MIIEvQ, done")]
    run.doctor("dev", as_json=False)
    shown = capsys.readouterr().out
    assert f"     | FATAL: postgres://app:{MASK}@postgres\n     | login {MASK}, {MASK}, done\n" in shown


def test_a_log_is_not_shown_if_the_secrets_are_unknown(scenario: Scenario, capsys: pytest.CaptureFixture[str]) -> None:
    scenario.secrets, scenario.findings = None, [error("rdv", "login with hunter22")]
    code, found = report(capsys)
    assert code == 1
    assert "can't be masked" in found["findings"][0]["output"]
    assert "hunter22" not in json.dumps(found)


def test_nested_secrets_are_found_and_well_known_values_are_not_secret() -> None:
    exported = {"a": [{"b": {**SECRET, "plaintext": json.dumps({"url": "top-secret", "port": "6379", "n": 1})}}]}
    exported["c"] = [{"d": {**SECRET, "plaintext": '"postgres"'}}, {"e": {**SECRET, "plaintext": '"abc"'}}]
    assert secret_texts(exported) == {"top-secret", "6379"}


def test_a_secret_that_contains_another_one_is_masked_completely() -> None:
    assert masked("abcd-efgh", ["abcd", "abcd-efgh"]) == MASK


def test_a_refused_password_is_explained(scenario: Scenario, capsys: pytest.CaptureFixture[str]) -> None:
    log = 'provisioning failed at: login\nFATAL:  password authentication failed for user "postgres"'
    scenario.findings = [error("databases", log)]
    _, found = report(capsys)
    assert "the kept data has another one" in found["findings"][0]["problem"]
    assert "docs/runbook.md#the-state-is-lost" in found["findings"][0]["fix"]


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (2.4, []),
        (2.6, [("warning", "clock")]),
        (-2.6, [("warning", "clock")]),
        (30.4, [("warning", "clock")]),
        (-31, [("error", "clock")]),
    ],
)
def test_the_clock_may_differ_by_the_limit_and_the_uncertainty(
    scenario: Scenario, capsys: pytest.CaptureFixture[str], seconds: float, expected: list[tuple[str, str]]
) -> None:
    scenario.offset = ClockOffset(seconds, 0.5)
    assert subjects(report(capsys)[1]) == expected


@pytest.mark.parametrize(
    ("used", "expected"), [(79, []), (81, [("warning", "disk of data")]), (95, [("error", "disk of data")])]
)
def test_a_disk_is_reported_from_the_limit_of_the_alert_on(
    scenario: Scenario, capsys: pytest.CaptureFixture[str], used: int, expected: list[tuple[str, str]]
) -> None:
    scenario.running = [Instance("redis", "pti-redis-dev", volumes=(("data", "/data"),))]
    scenario.outputs = {"df -Pk /data": DF.format("/dev/sda1", 2000, used * 10, 1000 - used * 10, 1, "/data")}
    assert subjects(report(capsys)[1]) == expected


def test_volumes_on_one_disk_share_a_finding_before_the_workloads(
    scenario: Scenario, capsys: pytest.CaptureFixture[str]
) -> None:
    scenario.findings = [error("postgres")]
    scenario.running = [Instance(name, f"pti-{name}-dev", volumes=((name, "/data"),)) for name in ("kafka", "redis")]
    scenario.running += [Instance("other", "pti-other-dev", volumes=(("other", "/data"),))]
    full = DF.format("//share/a disk", 1000, 990, 10, 99, "/data")
    scenario.outputs = {"other": DF.format("/dev/sdb", 9, 1, 8, 12, "/data"), "df": full}
    assert subjects(report(capsys)[1]) == [("error", "disk of kafka, redis"), ("error", "postgres")]


def test_a_volume_is_asked_for_only_once(scenario: Scenario, capsys: pytest.CaptureFixture[str]) -> None:
    scenario.running = [Instance("backup", name, volumes=(("data", "/data"),)) for name in ("one", "two")]
    scenario.outputs = {"one df": CommandFailed("df: not found"), "two df": CommandFailed("df: not found")}
    code, found = report(capsys)
    assert (code, subjects(found)) == (2, [("unchecked", "disk of data")])
    assert found["findings"][0]["output"] == "df: not found"


@pytest.mark.parametrize(
    ("used", "expected"), [(79, []), (80, [("warning", "postgres")]), (95, [("error", "postgres")])]
)
def test_used_connections_are_compared_with_the_limit(
    scenario: Scenario, capsys: pytest.CaptureFixture[str], used: int, expected: list[tuple[str, str]]
) -> None:
    scenario.outputs = {CONNECTIONS_QUERY: f"{used}|100\n"}
    assert subjects(report(capsys)[1]) == expected


def test_a_server_that_refuses_the_query_is_reported_unless_its_container_is(
    scenario: Scenario, capsys: pytest.CaptureFixture[str]
) -> None:
    scenario.outputs = {CONNECTIONS_QUERY: CommandFailed("FATAL:  the database system is starting up")}
    _, found = report(capsys)
    assert subjects(found) == [("error", "postgres")]
    assert found["findings"][0]["output"] == "FATAL:  the database system is starting up"
    scenario.findings = [error("postgres")]
    _, found = report(capsys)
    assert [one["problem"] for one in found["findings"]] == ["It keeps crashing."]


def test_of_a_replicated_server_the_primary_is_asked(scenario: Scenario, capsys: pytest.CaptureFixture[str]) -> None:
    scenario.running = [
        Instance("postgres", "postgres-1", "postgres", is_primary=False),
        Instance("postgres", "postgres-2", "postgres"),
    ]
    scenario.outputs = {"postgres-1": "5|100\n", "postgres-2": "99|100\n"}
    found = subjects(report(capsys)[1])
    assert [one for one in found if one[1] == "postgres"] == [("error", "postgres")]


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (f"pti_rdv|t|{26 * 3600}", []),
        (f"pti_rdv|t|{27 * 3600}", [("error", "backups")]),
        ("pti_rdv|f|60\npti_user|f|60", [("warning", "backups")]),
        (f"pti_rdv|f|{27 * 3600}", [("error", "backups")]),
    ],
)
def test_a_backup_may_be_as_old_as_the_alert_allows(
    scenario: Scenario, capsys: pytest.CaptureFixture[str], row: str, expected: list[tuple[str, str]]
) -> None:
    scenario.outputs = {AGES_QUERY: f"{row}\n"}
    assert subjects(report(capsys)[1]) == []
    scenario.settings = {"backups": {"enabled": True}}
    assert subjects(report(capsys)[1]) == expected


# Made by: openssl req -x509 -newkey ed25519 -nodes -subj /CN=test -days 365
UNTIL_2027 = """
-----BEGIN CERTIFICATE-----
MIIBMjCB5aADAgECAhQgriOqw2li8zzHouh5gpL7V2V/9zAFBgMrZXAwDzENMAsG
A1UEAwwEdGVzdDAeFw0yNjExMjkxNTMzNTBaFw0yNzExMjkxNTMzNTBaMA8xDTAL
BgNVBAMMBHRlc3QwKjAFBgMrZXADIQBNNSE8kuWzen/P+64iygBOYcddP6m48KrF
6eLZRPVbTaNTMFEwHQYDVR0OBBYEFMEWL2kOeR08OAqjjO7K81ChGjxSMB8GA1Ud
IwQYMBaAFMEWL2kOeR08OAqjjO7K81ChGjxSMA8GA1UdEwEB/wQFMAMBAf8wBQYD
K2VwA0EAQflB21VeXA61F44+UtAWdfpYKbi/2WTZHHKy77QfqtoKCqsrsfTey1vf
X4Th1ZAlvC7rnKXIw286CnDoxGB8BQ==
-----END CERTIFICATE-----
"""
# With -days 30000: years from 2050 on have four digits.
UNTIL_2109 = """
-----BEGIN CERTIFICATE-----
MIIBNDCB56ADAgECAhRNVveE7cIqHDjxmTHquwKSOJ+YmzAFBgMrZXAwDzENMAsG
A1UEAwwEdGVzdDAgFw0yNjExMjkxNTMzNTBaGA8yMTA5MDExODE1MzM1MFowDzEN
MAsGA1UEAwwEdGVzdDAqMAUGAytlcAMhACZvNbLIbGXBis3MrtJWWq7zrBWJXs8k
Eb0vxtPYHu8Vo1MwUTAdBgNVHQ4EFgQUn0NLsgrVR5XLIIl2N5YHxKOFYHswHwYD
VR0jBBgwFoAUn0NLsgrVR5XLIIl2N5YHxKOFYHswDwYDVR0TAQH/BAUwAwEB/zAF
BgMrZXADQQCxiXMnDCty+2xOHmXKopzJatbYaRT3LFY72W4K1AwfFpCJJc68wSGV
q/NlXI1jcOXh/vCH4f973eflvbUyueID
-----END CERTIFICATE-----
"""


@pytest.mark.parametrize(
    ("pem", "end"),
    [
        (UNTIL_2027, datetime(2027, 11, 29, 15, 33, 50, tzinfo=UTC)),
        (UNTIL_2109, datetime(2109, 1, 18, 15, 33, 50, tzinfo=UTC)),
        ("nonsense", None),
    ],
)
def test_the_end_of_a_certificate_is_read(pem: str, end: datetime | None) -> None:
    assert certificate._end_of_validity(pem) == end


@pytest.mark.parametrize(
    ("remaining_days", "expected"),
    [(15, []), (13, [("warning", "certificate")]), (-1, [("error", "certificate")])],
)
def test_a_certificate_is_reported_two_weeks_before_its_end(
    scenario: Scenario,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    remaining_days: int,
    expected: list[tuple[str, str]],
) -> None:
    end = datetime.now(UTC) + timedelta(days=remaining_days)
    monkeypatch.setattr(certificate, "_end_of_validity", lambda pem: end if pem == UNTIL_2027 else None)
    scenario.settings = {"gateway": {"enabled": True}, "services": {"deploy": "all"}}
    scenario.running.append(Instance("nginx", "pti-nginx-dev"))
    scenario.outputs = {"cat /etc/nginx/certificate/tls.crt": UNTIL_2027}
    _, found = report(capsys)
    assert subjects(found) == expected
    assert all("make up STACK=dev" in one["fix"] for one in found["findings"])


def test_every_page_that_a_finding_names_exists() -> None:
    sources = [*(ROOT / "operations" / "doctor").glob("*.py"), *(ROOT / "operations").glob("*_diagnosis.py")]
    links = {link for one in sources for link in re.findall(r"(docs/\w+\.md)(?:#([-a-z0-9]+))?", one.read_text())}
    links |= {("docs/runbook.md", one) for one in re.findall(r'"(the-[-a-z]+)"', Path(run.__file__).read_text())}
    assert len(links) > 10
    for page, anchor in links:
        headings = re.findall(r"^#+ (.+)$", (ROOT / page).read_text(), re.MULTILINE)
        assert not anchor or anchor in {re.sub(r"[^-a-z0-9 ]", "", one.lower()).replace(" ", "-") for one in headings}


FIRING_ALERT: Mapping[str, Any] = {
    "labels": {"alertname": "DiskFillsWithinADay", "severity": "warning", "volume": "postgres-data"},
    "annotations": {"summary": "postgres-data will be full", "description": "It will be full within a day."},
    "state": "firing",
    "activeAt": "2026-11-29T19:10:33.539399231Z",
    "value": "1e+00",
}
"""As Prometheus 3 shows it."""


class TestAlerts:
    def found(
        self, scenario: Scenario, capsys: pytest.CaptureFixture[str], *alerts: Mapping[str, Any]
    ) -> tuple[int, list[dict[str, Any]]]:
        """Return the exit code and the findings of a stack with these alerts."""
        scenario.settings = {
            "services": {"deploy": ["rdv"]},
            "gateway": {"enabled": True},
            "monitoring": {"enabled": True},
        }
        scenario.running.append(Instance("prometheus", "pti-prometheus-dev"))
        scenario.outputs["api/v1/alerts"] = json.dumps({"status": "success", "data": {"alerts": alerts}})
        code, found = report(capsys)
        return code, found["findings"]

    def test_an_alert_is_reported_with_its_section_of_the_documentation(
        self, scenario: Scenario, capsys: pytest.CaptureFixture[str]
    ) -> None:
        code, (finding,) = self.found(scenario, capsys, FIRING_ALERT)
        assert (code, finding["severity"], finding["subject"]) == (0, "warning", "alert DiskFillsWithinADay")
        assert "within a day" in finding["problem"]
        anchor = finding["fix"].removeprefix("docs/alerts.md#")
        assert anchor in (ROOT / "docs/alerts.md").read_text().lower()

    def test_a_critical_alert_is_an_error(self, scenario: Scenario, capsys: pytest.CaptureFixture[str]) -> None:
        labels = {**FIRING_ALERT["labels"], "severity": "critical"}
        code, (finding,) = self.found(scenario, capsys, {**FIRING_ALERT, "labels": labels})
        assert (code, finding["severity"]) == (1, "error")

    def test_several_objects_share_one_finding(self, scenario: Scenario, capsys: pytest.CaptureFixture[str]) -> None:
        other = {**FIRING_ALERT, "annotations": {"description": "redis-data too."}}
        _, (finding,) = self.found(scenario, capsys, FIRING_ALERT, other)
        assert "within a day. redis-data too." in finding["problem"]

    def test_a_pending_alert_is_not_reported(self, scenario: Scenario, capsys: pytest.CaptureFixture[str]) -> None:
        assert self.found(scenario, capsys, {**FIRING_ALERT, "state": "pending"}) == (0, [])

    def test_a_prometheus_that_does_not_respond_is_unchecked(
        self, scenario: Scenario, capsys: pytest.CaptureFixture[str]
    ) -> None:
        self.found(scenario, capsys)
        scenario.outputs["api/v1/alerts"] = CommandFailed("wget: can't connect to remote host: Connection refused")
        code, found = report(capsys)
        assert (code, subjects(found)) == (2, [("unchecked", "alerts")])

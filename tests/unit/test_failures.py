"""The records from which `docs/reliability.md` is generated."""

from __future__ import annotations

from dataclasses import replace

import pytest

from operations.documents.reliability import Failure, Requests, read_failures
from tests.failures import combined, exists, records

pytest_plugins = ["pytester"]

REPORT = ("--junitxml=report.xml", "--override-ini=junit_family=xunit1")
CONFTEST = "from tests.conftest import *"
SUITE = """
def test_passes(failure_record):
    failure_record.begin("A store is stopped", on="Docker", effect="nothing")
    with failure_record.measure_recovery():
        pass
    failure_record.set_lost("nothing")

def test_fails(failure_record):
    failure_record.begin("A store is killed", on="Docker", effect="nothing")
    failure_record.set_lost("nothing")
    assert False

def test_has_not_compared(failure_record):
    failure_record.begin("A disk is full", on="Docker", effect="nothing")
"""


def test_a_report_gives_the_records_of_passed_tests(pytester: pytest.Pytester) -> None:
    pytester.makeconftest(CONFTEST)
    pytester.makepyfile(test_suite=SUITE)

    ran = pytester.runpytest(*REPORT)

    ran.assert_outcomes(passed=2, failed=1, errors=1)
    ran.stdout.fnmatch_lines(["*what was lost by 'A disk is full' was not compared*"])
    (found,) = records(pytester.path / "report.xml")
    assert (found.title, found.test, found.lost) == ("A store is stopped", "test_suite.py::test_passes", "nothing")
    assert found.seconds is not None


def test_requests_are_counted_by_result(pytester: pytest.Pytester) -> None:
    pytester.makeconftest(CONFTEST)
    pytester.makepyfile(
        test_suite="""
        from tests.e2e.load import Load, Sample

        def test_counts(failure_record):
            load = Load(lambda: None)
            load.samples = [
                Sample("request", due_s=0, sent_s=0, ended_s=0.2, failure=None),
                Sample("request", due_s=0, sent_s=0.9, ended_s=1.1, failure=None),
                Sample("request", due_s=0, sent_s=0, ended_s=3, failure="503"),
            ]
            failure_record.begin("A store is stopped", on="Docker", effect="nothing")
            failure_record.set_requests(load)
            failure_record.set_lost("nothing")
        """
    )
    pytester.runpytest(*REPORT).assert_outcomes(passed=1)
    (found,) = records(pytester.path / "report.xml")
    assert found.requests is not None
    assert (found.requests.asked, found.requests.answered, found.requests.refused, found.requests.slow) == (3, 2, 1, 1)


def test_a_test_with_several_attempts_sets_the_duration(pytester: pytest.Pytester) -> None:
    pytester.makeconftest(CONFTEST)
    pytester.makepyfile(
        test_suite="""
        def test_tries(failure_record):
            failure_record.begin("An update is killed", on="Docker", effect="nothing")
            failure_record.set_recovery_s(max(3.0, 12.04))
            failure_record.set_lost("nothing")
        """
    )
    pytester.runpytest(*REPORT).assert_outcomes(passed=1)
    (found,) = records(pytester.path / "report.xml")
    assert found.seconds == 12.0


def test_a_failure_that_several_tests_cause_has_one_record() -> None:
    killed = Failure("Pulumi is killed", "Docker", "nothing", 12.0, "nothing", None, "test_kills.py::test_kill")
    other = replace(killed, on="Kubernetes", seconds=None)
    assert combined([killed, replace(killed, seconds=30.0), other, replace(killed, seconds=7.0)]) == [
        replace(killed, seconds=30.0, times=3),
        other,
    ]


def test_the_requests_of_one_failure_in_several_tests_are_added_up() -> None:
    killed = Failure("Pulumi is killed", "Docker", "nothing", None, "nothing", None, "test_kills.py::test_kill")
    (found,) = combined(
        [replace(killed, requests=Requests(9, 7, 2, 1)), killed, replace(killed, requests=Requests(4, 4, 0, 3))]
    )
    assert found.requests == Requests(13, 11, 2, 4)


def test_each_record_belongs_to_an_existing_test() -> None:
    assert [one.test for one in read_failures() if not exists(one.test)] == []

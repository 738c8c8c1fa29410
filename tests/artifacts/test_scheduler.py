"""The scheduler of tasks on an engine, as real processes with a clock that the tests set.

`docs/architecture.md` describes when a run starts. Kubernetes' scheduler (robfig/cron 3.0.1) is the reference for the
cron expressions.
"""

from __future__ import annotations

import random
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.artifacts.scheduler_process import ENDLESS_PAUSES, SCRIPT, SHELLS, WAIT_S, Scheduler, wait_until
from tests.full_run import only_in_full_runs
from workloads.schedule import FIELDS, cron_problem

EXPRESSIONS = 400
"""Number of random expressions, each with a random period."""

SEED = 20260610
RUN = "echo run >>runs"


@pytest.fixture(params=[one if one == "sh" else pytest.param(one, marks=only_in_full_runs) for one in SHELLS])
def scheduler(request: pytest.FixtureRequest, tmp_path: Path) -> Scheduler:
    """A scheduler for 02:30 every day whose clock shows 02:29:30, for each shell."""
    if not shutil.which("flock") or not shutil.which("setsid") or not Path("/proc/uptime").exists():
        pytest.skip("this machine lacks 'flock', 'setsid' or /proc, which the images have")
    made = Scheduler(tmp_path, request.param)
    made.configure(RUN)
    made.set_clock(2, 29, second=30)
    return made


class TestSchedule:
    def test_a_task_runs_once_at_its_scheduled_time(self, scheduler: Scheduler) -> None:
        with scheduler.serving():
            scheduler.wait_for_polls()
            assert scheduler.runs == []
            scheduler.set_clock(2, 30)
            scheduler.wait_for_log("succeeded")
            scheduler.wait_for_polls()
            scheduler.set_clock(2, 31)
            scheduler.wait_for_polls()
        assert scheduler.runs == ["run"]

    def test_a_line_of_the_log_has_begin_end_duration_and_exit_status(self, scheduler: Scheduler) -> None:
        scheduler.configure("echo working && /bin/sleep 1.2 && exit 7")
        with scheduler.serving():
            scheduler.set_clock(2, 30)
            scheduler.wait_for_log("exit status")
        assert "working\n" in scheduler.log
        assert re.search(
            r"^schedule: run of 2026-06-10T02:30:00Z failed: begin 2026-06-10T02:30:0\dZ, end 2026-06-10T02:30:0\dZ, "
            r"[1-9] s, exit status 7$",
            scheduler.log,
            re.MULTILINE,
        ), scheduler.log

    def test_a_failed_run_is_not_repeated(self, scheduler: Scheduler) -> None:
        scheduler.configure(f"{RUN} && exit 1")
        with scheduler.serving():
            scheduler.set_clock(2, 30)
            scheduler.wait_for_log("exit status 1")
            scheduler.wait_for_polls()
            assert scheduler.runs == ["run"]
            scheduler.set_clock(2, 30, day=11)
            scheduler.wait_for_log("exit status 1", count=2)
        assert scheduler.runs == ["run", "run"]

    def test_the_status_is_the_last_result(self, scheduler: Scheduler) -> None:
        with scheduler.serving():
            assert scheduler.call("status").stdout == "no run yet\n"
            scheduler.set_clock(2, 30)
            scheduler.wait_for_log("succeeded")
            assert scheduler.call("status").stdout.startswith("run of 2026-06-10T02:30:00Z succeeded: begin ")

    def test_the_health_check_succeeds_while_the_scheduler_runs(self, scheduler: Scheduler) -> None:
        assert scheduler.call("check").returncode != 0
        with scheduler.serving() as process:
            assert scheduler.call("check").returncode == 0
            process.kill()
            process.wait()
            assert scheduler.call("check").returncode != 0

    def test_a_state_directory_that_cannot_be_written_is_reported(self, scheduler: Scheduler) -> None:
        scheduler.state.write_text("a file in its place")
        done = scheduler.call("serve")
        assert done.returncode == 1
        assert f"can't write to {scheduler.state}" in done.stderr


class TestMissedRuns:
    def serve_until(self, scheduler: Scheduler, hour: int, minute: int) -> None:
        with scheduler.serving():
            scheduler.set_clock(hour, minute)
            scheduler.wait_for_polls()

    def test_a_run_missed_while_the_scheduler_was_down_starts_once(self, scheduler: Scheduler) -> None:
        self.serve_until(scheduler, 2, 29)
        scheduler.set_clock(3, 25)
        for _ in range(2):
            with scheduler.serving():
                scheduler.wait_for_log("succeeded")
                scheduler.wait_for_polls()
        assert scheduler.runs == ["run"]

    def test_a_run_missed_by_more_than_its_deadline_does_not_start(self, scheduler: Scheduler) -> None:
        self.serve_until(scheduler, 2, 29)
        scheduler.set_clock(3, 31)
        with scheduler.serving():
            scheduler.wait_for_log("run of 2026-06-10T02:30:00Z is missed: it couldn't start in 3600 s")
            scheduler.wait_for_polls()
        assert scheduler.runs == []
        assert scheduler.log.count("is missed") == 1

    @only_in_full_runs
    def test_one_run_replaces_several_missed_ones(self, scheduler: Scheduler) -> None:
        scheduler.configure(RUN, "*/10 * * * *")
        self.serve_until(scheduler, 2, 29)
        scheduler.set_clock(3, 15)
        with scheduler.serving():
            scheduler.wait_for_log("run of 2026-06-10T03:10:00Z succeeded")
            scheduler.wait_for_polls()
        assert scheduler.runs == ["run"]

    def test_a_new_scheduler_has_missed_nothing(self, scheduler: Scheduler) -> None:
        scheduler.set_clock(2, 31)
        with scheduler.serving():
            scheduler.wait_for_polls()
        assert scheduler.runs == []

    def test_another_expression_has_missed_nothing(self, scheduler: Scheduler) -> None:
        self.serve_until(scheduler, 2, 29)
        scheduler.set_clock(3, 0)
        scheduler.configure(RUN, "45 2 * * *")
        with scheduler.serving():
            scheduler.wait_for_polls()
            assert scheduler.runs == []
            scheduler.set_clock(2, 45, day=11)
            scheduler.wait_for_log("run of 2026-06-11T02:45:00Z succeeded")

    @pytest.mark.parametrize("content", ["", "\n", "12x 30 2 * * *\n", "garbage"])
    def test_a_damaged_state_counts_as_a_first_start(self, scheduler: Scheduler, content: str) -> None:
        self.serve_until(scheduler, 2, 29)
        (scheduler.state / "state").write_text(content)
        scheduler.set_clock(2, 31)
        with scheduler.serving():
            scheduler.wait_for_polls()
            assert scheduler.runs == []
            scheduler.set_clock(2, 30, day=11)
            scheduler.wait_for_log("run of 2026-06-11T02:30:00Z succeeded")


@only_in_full_runs
class TestClock:
    @pytest.mark.parametrize(("hour", "runs"), [(3, ["run"]), (8, [])], ids=["within the deadline", "beyond it"])
    def test_a_clock_set_forward_leaves_a_missed_run(self, scheduler: Scheduler, hour: int, runs: list[str]) -> None:
        with scheduler.serving():
            scheduler.wait_for_polls()
            scheduler.set_clock(hour, 15)
            scheduler.wait_for_log("succeeded" if runs else "is missed")
            scheduler.wait_for_polls()
        assert scheduler.runs == runs

    def test_after_a_clock_set_back_by_hours_the_next_scheduled_time_counts(self, scheduler: Scheduler) -> None:
        with scheduler.serving():
            scheduler.set_clock(2, 30)
            scheduler.wait_for_log("succeeded")
            scheduler.set_clock(21, 0, day=9)
            scheduler.wait_for_log("the clock was set back")
            scheduler.wait_for_polls()
            assert scheduler.runs == ["run"]
            scheduler.set_clock(2, 30)
            scheduler.wait_for_log("succeeded", count=2)
        assert scheduler.runs == ["run", "run"]

    def test_a_clock_set_back_by_minutes_does_not_repeat_a_run(self, scheduler: Scheduler) -> None:
        with scheduler.serving():
            scheduler.set_clock(2, 31)
            scheduler.wait_for_log("succeeded")
            scheduler.set_clock(2, 29)
            scheduler.wait_for_polls()
            scheduler.set_clock(2, 32)
            scheduler.wait_for_polls()
        assert scheduler.runs == ["run"]

    @only_in_full_runs
    def test_a_wrong_clock_without_a_run_costs_no_later_run(self, scheduler: Scheduler) -> None:
        scheduler.configure(RUN, deadline_s=60)
        with scheduler.serving():
            scheduler.set_clock(2, 50)
            scheduler.wait_for_log("is missed")
            scheduler.set_clock(2, 1)
            scheduler.wait_for_polls()
            scheduler.set_clock(2, 30)
            scheduler.wait_for_log("succeeded")
        assert scheduler.runs == ["run"]

    def test_the_clock_may_jump_during_a_run(self, scheduler: Scheduler) -> None:
        scheduler.configure("echo run >>runs && /bin/sleep 2", timeout_s=60)
        with scheduler.serving():
            scheduler.set_clock(2, 30)
            scheduler.wait_for_log("begins")
            scheduler.set_clock(20, 0)
            scheduler.wait_for_log("succeeded")
            assert re.search(r" end 2026-06-10T20:00:\d\dZ, [2-9] s, exit status 0$", scheduler.log, re.MULTILINE)
            scheduler.wait_for_polls()
        assert scheduler.runs == ["run"]


@only_in_full_runs
class TestEnd:
    def test_a_hanging_run_ends_at_its_limit_and_the_next_one_starts(self, scheduler: Scheduler) -> None:
        scheduler.configure("trap '' TERM; echo run >>runs; /bin/sleep 600; /bin/sleep 600", timeout_s=1, grace_s=2)
        with scheduler.serving():
            scheduler.set_clock(2, 30)
            scheduler.wait_for_log("failed")
            assert re.search(r" [3-6] s, exit status 137, stopped at its limit of 1 s$", scheduler.log, re.MULTILINE)
            scheduler.set_clock(2, 30, day=11)
            scheduler.wait_for_log("failed", count=2)
        assert scheduler.runs == ["run", "run"]
        scheduler.wait_for_the_end_of_all_processes()

    def test_a_run_gets_sigterm_at_its_limit(self, scheduler: Scheduler) -> None:
        command = "trap 'echo cleared >>runs; exit 3' TERM; /bin/sleep 600 & wait"
        scheduler.configure(command, timeout_s=1, grace_s=30)
        with scheduler.serving():
            scheduler.set_clock(2, 30)
            scheduler.wait_for_log("exit status 3, stopped at its limit of 1 s")
        assert scheduler.runs == ["cleared"]
        scheduler.wait_for_the_end_of_all_processes()

    @only_in_full_runs
    def test_a_suspended_machine_does_not_use_up_the_limit(self, scheduler: Scheduler) -> None:
        scheduler.configure("/bin/sleep 20", timeout_s=18)
        with scheduler.serving() as process:
            scheduler.set_clock(2, 30)
            scheduler.wait_for_log("begins")
            process.send_signal(signal.SIGSTOP)
            time.sleep(19)
            process.send_signal(signal.SIGCONT)
            scheduler.wait_for_log("exit status 0")

    def test_processes_that_a_run_leaves_behind_end_with_it(self, scheduler: Scheduler) -> None:
        scheduler.configure("/bin/sleep 600 & echo run >>runs")
        with scheduler.serving():
            scheduler.set_clock(2, 30)
            scheduler.wait_for_log("succeeded")
            scheduler.wait_for_the_end_of_all_processes()

    @pytest.mark.parametrize("trap", ["", "trap '' TERM; "], ids=["obedient", "deaf to SIGTERM"])
    def test_sigterm_ends_scheduler_and_run_within_the_grace_period(self, scheduler: Scheduler, trap: str) -> None:
        scheduler.configure(f"{trap}/bin/sleep 600 | /bin/sleep 600", grace_s=4)
        with scheduler.serving() as process:
            scheduler.set_clock(2, 30)
            scheduler.wait_for_log("begins")
            process.terminate()
            assert process.wait(WAIT_S) == 0
        assert "failed: begin" in scheduler.log
        assert scheduler.log.endswith("schedule: stopped\n")
        scheduler.wait_for_the_end_of_all_processes()

    def test_sigterm_ends_the_pause_of_an_idle_scheduler(self, scheduler: Scheduler) -> None:
        scheduler.pauses = ENDLESS_PAUSES
        with scheduler.serving() as process:
            process.terminate()
            assert process.wait(WAIT_S) == 0


@only_in_full_runs
class TestKills:
    def test_a_run_that_a_kill_interrupted_is_reported_and_not_started_again(self, scheduler: Scheduler) -> None:
        scheduler.configure("echo run >>runs; exec /bin/sleep 600")
        with scheduler.serving() as process:
            scheduler.set_clock(2, 30)
            wait_until(lambda: scheduler.runs == ["run"], lambda: scheduler.log)
            process.kill()
            process.wait()
        scheduler.end_container()
        with scheduler.serving():
            scheduler.wait_for_log("run of 2026-06-10T02:30:00Z was interrupted")
            scheduler.wait_for_polls()
            assert scheduler.call("status").stdout.startswith("run of 2026-06-10T02:30:00Z was interrupted")
        assert scheduler.runs == ["run"]

    def test_a_run_whose_scheduler_was_killed_keeps_the_next_one_waiting(self, scheduler: Scheduler) -> None:
        scheduler.configure("echo run >>runs; exec /bin/sleep 600", "* * * * *")
        with scheduler.serving(ends_container=False) as process:
            scheduler.set_clock(2, 30)
            wait_until(lambda: scheduler.runs == ["run"], lambda: scheduler.log)
            process.kill()
            process.wait()
        scheduler.set_clock(2, 31)
        with scheduler.serving():
            scheduler.wait_for_log("run of 2026-06-10T02:31:00Z waits for the run in progress")
            scheduler.wait_for_polls()
            assert scheduler.runs == ["run"]
            scheduler.kill_task()
            scheduler.wait_for_log("run of 2026-06-10T02:31:00Z begins")

    @only_in_full_runs
    @pytest.mark.parametrize("attempt", range(3))
    def test_a_run_starts_at_most_once_wherever_a_kill_hits(self, scheduler: Scheduler, attempt: int) -> None:
        """Kill the scheduler at a random moment around the start of a run."""
        moments = random.Random(f"{SEED} {attempt}")  # noqa: S311 - moments of kills
        for day in range(11, 15):
            scheduler.set_clock(2, 29, day=day, second=30)
            with scheduler.serving() as process:
                scheduler.set_clock(2, 30, day=day)
                time.sleep(moments.random() * 0.6)
                process.kill()
                process.wait()
            scheduler.end_container()
            with scheduler.serving():
                scheduler.wait_for_polls()
        begun = re.findall(r"run of (\S+) begins", scheduler.log)
        interrupted = re.findall(r"run of (\S+) was interrupted", scheduler.log)
        assert len(begun) == len(set(begun)), scheduler.log
        # A kill between the record of a run and its start.
        assert len({*begun, *interrupted}) == 4, scheduler.log


class TestRequests:
    def test_a_requested_run_writes_to_its_caller_and_its_result_to_the_log(self, scheduler: Scheduler) -> None:
        scheduler.configure("echo working; exit 5")
        with scheduler.serving():
            done = scheduler.call("run")
            assert done.returncode == 5
            assert done.stdout == "working\n"
            assert re.search(r"requested run of 2026-06-10T02:29:\d\dZ failed: .*exit status 5\n", done.stderr)
            scheduler.wait_for_log("requested run of")
            assert "exit status 5" in scheduler.log
            assert "working" not in scheduler.log
            assert "exit status 5" in scheduler.call("status").stdout

    def test_another_command_runs_without_the_tasks_time_limit(self, scheduler: Scheduler) -> None:
        scheduler.configure(RUN, timeout_s=1)
        with scheduler.serving():
            done = scheduler.call("run", "sh", "-c", '/bin/sleep 3; printf "%s|" "$@"', "sh", "a b", "*")
        assert (done.returncode, done.stdout) == (0, "a b|*|")
        assert scheduler.runs == []

    def test_the_task_itself_keeps_its_time_limit(self, scheduler: Scheduler) -> None:
        scheduler.configure("/bin/sleep 600", timeout_s=1)
        with scheduler.serving():
            done = scheduler.call("run")
        assert (done.returncode, "stopped at its limit of 1 s" in done.stderr) == (143, True)

    def test_a_request_during_a_run_is_refused(self, scheduler: Scheduler) -> None:
        scheduler.configure("/bin/sleep 600")
        with scheduler.serving():
            scheduler.set_clock(2, 30)
            scheduler.wait_for_log("begins")
            done = scheduler.call("run")
            assert done.returncode == 1
            assert "run of 2026-06-10T02:30:00Z is in progress" in done.stderr
            assert scheduler.call("status").stdout.startswith("run of 2026-06-10T02:30:00Z is in progress")

    @only_in_full_runs
    def test_a_run_that_is_due_during_a_request_waits_for_it(self, scheduler: Scheduler) -> None:
        with scheduler.serving():
            requested = scheduler.begin("run", "/bin/sleep", "600")
            wait_until(lambda: "is in progress" in scheduler.call("status").stdout, lambda: scheduler.log)
            scheduler.set_clock(2, 30)
            scheduler.wait_for_log("waits for the run in progress")
            scheduler.wait_for_polls()
            assert scheduler.runs == []
            assert scheduler.call("cancel").returncode == 0
            assert requested.wait(WAIT_S) == 143
            scheduler.wait_for_log("run of 2026-06-10T02:30:00Z succeeded")
        assert scheduler.runs == ["run"]

    def test_a_request_can_be_cancelled_and_a_scheduled_run_cannot(self, scheduler: Scheduler) -> None:
        scheduler.configure("/bin/sleep 2")
        with scheduler.serving():
            requested = scheduler.begin("run", "sh", "-c", "trap 'exit 0' TERM; /bin/sleep 600 & wait")
            wait_until(lambda: "is in progress" in scheduler.call("status").stdout, lambda: scheduler.log)
            scheduler.call("cancel")
            output, _ = requested.communicate(timeout=WAIT_S)
            assert (requested.returncode, "stopped on request" in output) == (143, True)
            scheduler.wait_for_the_end_of_all_processes()
            scheduler.set_clock(2, 30)
            scheduler.wait_for_log("run of 2026-06-10T02:30:00Z begins")
            scheduler.call("cancel")
            scheduler.wait_for_log("run of 2026-06-10T02:30:00Z succeeded")

    @only_in_full_runs
    def test_a_stopping_scheduler_ends_a_requested_run(self, scheduler: Scheduler) -> None:
        with scheduler.serving() as process:
            requested = scheduler.begin("run", "/bin/sleep", "600")
            wait_until(lambda: "is in progress" in scheduler.call("status").stdout, lambda: scheduler.log)
            process.terminate()
            assert process.wait(WAIT_S) == 0
            assert requested.wait(WAIT_S) == 143


class TestCronExpressions:
    @only_in_full_runs
    @pytest.mark.parametrize("shell", SHELLS)
    def test_random_expressions_select_the_same_times_as_a_plain_implementation(self, shell: str) -> None:
        cases = list(random_cases(random.Random(SEED)))  # noqa: S311 - no secret
        expected = [newest_due(*case) for case in cases]
        assert due_in_shell(shell, cases) == expected
        assert sum(one is not None for one in expected) > EXPRESSIONS / 4

    @pytest.mark.parametrize(
        ("expression", "days"),
        [
            # Both fields restrict the days: one of them is enough.
            ("0 0 1,15 * 1", [1, 6, 13, 15, 20, 27]),
            ("0 0 1-31 * 1", list(range(1, 32))),
            ("0 0 */2 * 1", [1, 3, 5, 6, 7, 9, 11, 13, *range(15, 32, 2), 20]),
            ("0 0 13 * */2", [2, 4, 5, 7, 9, 11, 12, 13, 14, 16, 18, 19, 21, 23, 25, 26, 28, 30]),
            # One of them is `*` or `*/1`: both have to match.
            ("0 0 * * 1", [6, 13, 20, 27]),
            ("0 0 13 * *", [13]),
            ("0 0 */1 * 1", [6, 13, 20, 27]),
            ("0 0 13 * *,5", [13]),
        ],
    )
    def test_day_of_month_and_day_of_week_combine_as_in_kubernetes(self, expression: str, days: list[int]) -> None:
        """July 2026 begins on a Wednesday; the days are those of robfig/cron 3.0.1."""
        begin = datetime(2026, 7, 1, tzinfo=UTC)
        each_day = [begin + timedelta(days=day) for day in range(31)]
        cases = [(expression, day - timedelta(hours=1), day + timedelta(hours=1)) for day in each_day]
        found = [one.day for one in due_in_shell("sh", cases) if one]
        assert found == sorted(days)
        assert [one.day for case in cases if (one := newest_due(*case))] == sorted(days)


Case = tuple[str, datetime, datetime]
"""An expression, and the begin and end of a period."""


def random_cases(chance: random.Random) -> Iterable[Case]:
    """Yield valid expressions with periods of up to three days between 1990 and 2100."""
    for _ in range(EXPRESSIONS):
        expression = " ".join(random_field(chance, lowest, highest) for _, lowest, highest in FIELDS)
        assert cron_problem(expression) is None, expression
        end = datetime(1990, 1, 1, tzinfo=UTC) + timedelta(seconds=chance.randrange(110 * 365 * 86_400))
        if chance.random() < 0.3:
            end = end.replace(month=chance.choice((2, 3)), day=chance.choice((1, 28)))
        yield expression, end - timedelta(seconds=chance.randrange(3 * 86_400)), end


def random_field(chance: random.Random, lowest: int, highest: int) -> str:
    """Return one field: mostly `*`, otherwise a list of one to three numbers, ranges and steps."""
    if chance.random() < 0.4:
        return "*"
    parts = []
    for _ in range(chance.choice((1, 1, 1, 2, 3))):
        first = chance.randint(lowest, highest)
        last = chance.randint(first, highest)
        part = chance.choice(("*", f"{first}", f"{first:02}", f"{first}-{last}"))
        parts.append(part + chance.choice(("", "", f"/{chance.randint(1, highest)}")))
    return ",".join(parts)


def newest_due(expression: str, begin: datetime, end: datetime) -> datetime | None:
    """Return the newest time after the begin and not after the end that an expression selects, by trying each
    minute."""
    sets = [
        selected_numbers(field, low, high) for field, (_, low, high) in zip(expression.split(), FIELDS, strict=True)
    ]
    stars = [unrestricted(field) for field in expression.split()]
    minute = end.replace(second=0, microsecond=0)
    while minute > begin:
        of_month, of_week = minute.day in sets[2], minute.isoweekday() % 7 in sets[4]
        is_day = of_month and of_week if stars[2] or stars[4] else of_month or of_week
        if minute.minute in sets[0] and minute.hour in sets[1] and is_day and minute.month in sets[3]:
            return minute
        minute -= timedelta(minutes=1)
    return None


def selected_numbers(field: str, lowest: int, highest: int) -> set[int]:
    found: set[int] = set()
    for part in field.split(","):
        range_, _, step = part.partition("/")
        if range_ == "*":
            first, last = lowest, highest
        elif "-" in range_:
            first, last = map(int, range_.split("-"))
        else:
            first = int(range_)
            last = highest if step else first
        found |= set(range(first, last + 1, int(step or 1)))
    return found


def unrestricted(field: str) -> bool:
    return any(part == "*" or re.fullmatch(r"\*/0*1", part) for part in field.split(","))


def due_in_shell(shell: str, cases: Sequence[Case]) -> list[datetime | None]:
    """Return the newest due time of each case, as the functions of the script find it."""
    functions, _, _ = SCRIPT.read_text().replace('. "$(dirname "$0")/task.sh"', "").partition("\nmode=$1\n")
    loop = 'while read -r begin end schedule; do read_schedule; find_due $begin $end; echo "${due:-none}"; done'
    given = "".join(f"{begin.timestamp():.0f} {end.timestamp():.0f} {expression}\n" for expression, begin, end in cases)
    done = subprocess.run(
        [*SHELLS[shell], "-c", f"{functions}\n{loop}"],
        input=given,
        capture_output=True,
        text=True,
        check=True,
    )
    return [None if line == "none" else datetime.fromtimestamp(int(line), UTC) for line in done.stdout.splitlines()]

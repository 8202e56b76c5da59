"""The agent as PID 1 (harness/as_init.py has how, and why the machine is safe)."""

import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

from harness import agent as agents
from harness import client as ttrpc
from harness import protocol
from harness.client import AGENT, Exec

messages = protocol.agent
SECOND = 10**9
HERE = pathlib.Path(__file__).resolve().parent
SOCKET = "/dev/agent.sock"      # /dev is a file system of its own, before and after the boot.
USUAL = (f"quiet sluice.unix={SOCKET} sluice.vsock=off sluice.serial=off sluice.net=off "
         "sluice.hostname=box")


class Guest:
    """An agent that is PID 1 of its own namespaces."""

    def __init__(self, directory, command_line=USUAL, *options):
        self.log = pathlib.Path(directory) / "console"
        with open(self.log, "wb") as log:
            self.launcher = subprocess.Popen(
                [sys.executable, "-B", str(HERE / "harness/as_init.py"), agents.AGENT, command_line,
                 *options], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log,
                env=os.environ | {"TMPDIR": str(directory)})    # where a killed one leaves its root
        first = self.launcher.stdout.readline()
        if not first:
            self.launcher.wait()
            text = self.log.read_text()
            if "Operation not permitted" in text:
                pytest.skip(f"agent tests skipped: no namespaces here: {text.splitlines()[-1]}")
            raise AssertionError(text)
        self.pid = int(first)
        self.root = pathlib.Path(f"/proc/{self.pid}/root")
        agents.until(self._answers, "the agent listens")

    def _answers(self):
        assert self.launcher.poll() is None, self.log.read_text()
        try:
            self.connect().close()
        except OSError:
            return False
        return True

    def connect(self):
        return ttrpc.connect(f"/proc/{self.pid}/root{SOCKET}")

    def report(self):
        return self.connect().call(AGENT, "BootReport", messages.BootReportRequest(),
                                   messages.BootReportResponse)

    def booted(self):
        """The steps by name, once none is under way."""
        def done():
            report = self.report()
            return report.complete and any(one.name == "files in /etc" for one in report.steps)
        agents.until(done, "the boot is over")
        return {step.name: step for step in self.report().steps}

    def shut_down(self, **order):
        self.connect().call(AGENT, "Shutdown", messages.ShutdownRequest(**order),
                            messages.ShutdownResponse)

    def end(self, seconds=agents.SECONDS):
        """How it ended: ("signal", number)."""
        self.launcher.wait(seconds)
        kind, number = self.launcher.stdout.read().split()
        return kind.decode(), int(number)

    def programs(self):
        """States by pid, of all but PID 1, as seen from inside."""
        found = {}
        for entry in (self.root / "proc").iterdir():
            if entry.name.isdigit() and entry.name != "1":
                try:
                    stat = (entry / "stat").read_text()
                except (FileNotFoundError, ProcessLookupError):
                    continue
                found[int(entry.name)] = stat.rpartition(")")[2].split()[0]
        return found

    def close(self):
        if self.launcher.poll() is None:
            self.launcher.kill()        # And PID 1 with it.
        self.launcher.wait()
        self.launcher.stdout.close()


POWERED_OFF = ("signal", signal.SIGINT)     # What reboot(2) makes of a pid namespace's init.
REBOOTED = ("signal", signal.SIGHUP)


@pytest.fixture
def start(tmp_path):
    made = []

    def start_one(*arguments):
        made.append(Guest(tmp_path, *arguments))
        return made[-1]

    yield start_one
    for guest in made:
        guest.close()


@pytest.fixture(scope="module")
def guest(tmp_path_factory):
    made = Guest(tmp_path_factory.mktemp("guest"))
    yield made
    made.shut_down(grace_ns=SECOND)
    assert made.end() == POWERED_OFF
    made.close()


Result = messages.BootStep


def test_the_boot_report_lists_what_was_done_with_what_came_of_it(guest):
    steps = guest.booted()
    assert steps["mount /proc"].result == Result.SKIPPED
    assert steps["mount /proc"].message == "is mounted"
    assert steps["mount /proc"].mandatory
    for name in ("mount /dev/pts", "mount /dev/shm", "links in /dev", "hostname box",
                 "files in /etc", f"serve {SOCKET}"):
        assert steps[name].result == Result.DONE, steps[name]
    assert steps["cgroup controllers"].result == Result.SKIPPED
    assert not guest.report().failed
    assert all(step.duration_ns >= 0 for step in steps.values())
    began = [step.started_ns for step in guest.report().steps]
    assert began == sorted(began)


def test_it_can_be_reached_before_the_rest_of_the_boot(guest):
    steps = guest.booted()
    assert steps[f"serve {SOCKET}"].started_ns < steps["mount /dev/pts"].started_ns


def test_the_files_that_programs_look_for_are_there(guest):
    guest.booted()
    etc = guest.root / "etc"
    assert "127.0.1.1 box\n" in (etc / "hosts").read_text()
    assert "::1 localhost" in (etc / "hosts").read_text()
    assert (etc / "hostname").read_text() == "box\n"
    assert len((etc / "machine-id").read_text()) == 33
    assert (etc / "passwd").read_text().startswith("root:x:0:0:")
    assert "tty:x:5:" in (etc / "group").read_text()
    assert os.readlink(guest.root / "dev/fd") == "/proc/self/fd"


def test_the_host_name_is_the_guests_and_the_machines_is_untouched(guest):
    guest.booted()
    info = guest.connect().call(AGENT, "SystemInfo", messages.SystemInfoRequest(),
                                messages.SystemInfoResponse)
    assert info.hostname == "box"
    assert os.uname().nodename != "box"
    assert {mount.type for mount in info.mounts} <= {"tmpfs", "proc", "devpts", "mqueue", "bpf"}


def test_programs_run_with_and_without_a_terminal(guest):
    guest.booted()
    client = guest.connect()
    call = Exec(client, "sh", "-c", "echo $HOME $USER; exit 42")
    assert call.finish()[0] == b"/root root\n"
    assert call.exit.code == 42
    call = Exec(client, "stty", "size", terminal=protocol.process.TerminalSize(rows=5, columns=6))
    assert call.finish()[0] == b"5 6\r\n"


def test_orphans_are_reaped(guest):
    client = guest.connect()
    for _ in range(30):
        # Of the two that are left behind one ends before its parent, and one after.
        call = Exec(client, "sh", "-c", "(true & sleep 0.01 &) & exit 0")
        call.finish()
        assert call.exit.code == 0
    agents.until(lambda: not guest.programs(), "all have gone, and none is a zombie")


def test_an_orphan_never_takes_a_programs_exit(guest):
    client = guest.connect()
    calls = [Exec(client, "sh", "-c", f"(sleep 0.01; exit 99) & sleep 0.02; exit {code}")
             for code in range(20)]
    for code, call in enumerate(calls):
        call.finish()
        assert call.exit.code == code


def test_init_is_not_ended_from_within(guest):
    call = Exec(guest.connect(), "sh", "-c", "kill -9 1; kill -HUP 1; kill -PIPE 1; echo alive")
    assert call.finish()[0] == b"alive\n"
    guest.connect().ping()


def test_wrong_words_on_the_command_line_are_reported_and_harm_nothing(start):
    guest = start(USUAL + " sluice.bogus=1 sluice.vsock=x root=/dev/vda sluiced.x=1")
    guest.booted()
    problems = [step.message for step in guest.report().steps if step.name == "kernel command line"]
    assert len(problems) == 2
    assert problems[0].startswith("sluice.bogus=1: ")
    assert problems[1].startswith("sluice.vsock=x: ")
    assert not guest.report().failed
    assert "sluice.bogus=1" in guest.log.read_text()


def test_shutdown_asks_first_and_kills_after_the_grace(start):
    guest = start()
    client = guest.connect()
    polite = Exec(client, "sh", "-c",
                  "trap 'echo bye >/dev/told; exit' TERM; echo; while :; do sleep 0.01; done")
    polite.receive()
    stubborn = Exec(client, "sh", "-c", "trap '' TERM HUP; echo; while :; do sleep 1; done")
    stubborn.receive()
    told = pathlib.Path(guest.root / "dev/told")
    began = time.monotonic()
    guest.shut_down(grace_ns=2 * SECOND)
    agents.until(lambda: told.exists() or guest.launcher.poll() is not None, "it was asked")
    assert guest.launcher.poll() is None, "it ended before the polite one was asked"
    assert guest.end() == POWERED_OFF
    assert time.monotonic() - began > 1.95


def test_shutdown_does_not_wait_where_nobody_is_left(start):
    guest = start()
    guest.shut_down(grace_ns=1000 * SECOND)
    assert guest.end() == POWERED_OFF


def test_a_reboot_is_a_reboot(start):
    guest = start()
    guest.shut_down(action=messages.ShutdownRequest.REBOOT)
    assert guest.end() == REBOOTED


def test_a_second_order_shortens_the_grace_and_the_longest_is_not_the_shortest(start):
    guest = start()
    client = guest.connect()
    stubborn = Exec(client, "sh", "-c", "trap '' TERM; echo; while :; do sleep 1; done")
    stubborn.receive()
    guest.shut_down(grace_ns=2**63 - 1)
    # It goes on being asked: 10 looks at least have passed by the time that 300 ms have.
    deadline = time.monotonic() + 0.3
    while time.monotonic() < deadline:
        assert guest.launcher.poll() is None
        client.ping()
    guest.shut_down(grace_ns=1)
    assert guest.end() == POWERED_OFF


@pytest.mark.parametrize("number, ended", [(signal.SIGTERM, POWERED_OFF),
                                           (signal.SIGPWR, POWERED_OFF),
                                           (signal.SIGINT, REBOOTED)])
def test_a_signal_is_an_order_too(start, number, ended):
    guest = start()
    os.kill(guest.pid, number)
    assert guest.end() == ended


def test_a_read_only_root_gets_places_to_write(start):
    guest = start(USUAL, "read-only")
    steps = guest.booted()
    for name in ("mount /tmp", "mount /run", "make /etc writable", "make /var writable",
                 "files in /etc"):
        assert steps[name].result == Result.DONE, steps[name]
    assert guest.root.joinpath("tmp").stat().st_mode & 0o7777 == 0o1777
    assert guest.root.joinpath("run").stat().st_mode & 0o7777 == 0o755
    assert "box" in (guest.root / "etc/hosts").read_text()
    call = Exec(guest.connect(), "sh", "-c", "echo x >/tmp/x && echo x >/var/x && echo x >/x")
    _, err = call.finish()
    assert b"/x: Read-only file system" in err
    guest.shut_down(grace_ns=SECOND)
    assert guest.end() == POWERED_OFF


def test_without_a_port_to_find_the_boot_is_over_all_the_same(start):
    """The port by which hosts without vsock come is looked for; a guest without it is complete."""
    guest = start(USUAL.replace(" sluice.serial=off", ""))
    step = "serve virtio-serial sluice.agent"
    agents.until(lambda: any(one.name == step and one.result == Result.SKIPPED
                             for one in guest.report().steps), "the port is given up")
    assert guest.report().complete

"""Programs that the agent keeps alive as PID 1, and another init in its place."""

import json
import os
import pathlib
import re
import signal

import pytest

from harness import agent as agents
from harness import protocol
from harness.client import CallFailed, Exec, Stream
from harness.hostd import Following, Hostd
from test_init import POWERED_OFF, SECOND, SOCKET, USUAL, Guest, messages

services = protocol.services
SERVICES = "sluice.agent.v1.Services"
State = services.ServiceInfo
Change = protocol.agent.ServiceChange
NOT_FOUND, FAILED_PRECONDITION = 5, 9
TABLE = "/etc/sluice/services.json"
#: Writes its name to /dev/order when it is asked to end.
POLITE = "trap 'echo {0} >>/dev/order; exit' TERM; echo {0} runs; while :; do sleep 0.02; done"


@pytest.fixture
def start(tmp_path):
    made = []

    def start_one(table=None, command_line=USUAL, *options):
        if table is not None:
            text = table if isinstance(table, str) else json.dumps(table)
            options = (*options, f"{TABLE}={text}")
        made.append(Guest(tmp_path, command_line, *options))
        return made[-1]

    yield start_one
    for guest in made:
        guest.close()


def listed(guest):
    response = guest.connect().call(SERVICES, "List", services.ListServicesRequest(),
                                    services.ListServicesResponse)
    return {one.name: one for one in response.services}


def log_of(guest, name):
    return guest.connect().call(SERVICES, "Logs", services.ServiceLogsRequest(name=name),
                                services.ServiceLogsResponse)


def wait_for_state(guest, name, state):
    def found():
        one = listed(guest).get(name)
        return one if one and one.state == state else None
    return agents.until(found, f"{name} is {State.State.Name(state)}")


def shell(name, script, **more):
    return {"name": name, "command": ["sh", "-c", script], **more}


def test_services_start_in_order_as_soon_as_what_they_are_after_is_ready(start):
    guest = start({"services": [
        shell("second", POLITE.format("second"), after=["first"]),
        shell("first", POLITE.format("first"),
              ready={"command": ["sh", "-c", "test -e /dev/go"]})]})
    first = wait_for_state(guest, "first", State.STARTING)
    assert first.pid > 1
    second = listed(guest)["second"]
    assert (second.state, second.problem) == (State.WAITING, "waits for first")
    pathlib.Path(guest.root / "dev/go").touch()
    wait_for_state(guest, "first", State.READY)
    assert wait_for_state(guest, "second", State.READY).since_ns >= first.since_ns


def test_a_service_that_takes_connections_is_ready_when_it_does(start):
    guest = start({"services": [
        {"name": "agent", "command": ["/sbin/agent", "--unix", "/dev/other.sock"],
         "ready": {"unix": "/dev/other.sock"}},
        shell("deaf", "exec sleep 1000", ready={"unix": "/dev/nobody.sock"})]})
    wait_for_state(guest, "agent", State.READY)
    assert listed(guest)["deaf"].state == State.STARTING


def test_a_service_that_is_killed_is_started_again_and_is_not_called_ready_meanwhile(start):
    guest = start({"services": [shell("a", POLITE.format("a"),
                                      ready={"command": ["sh", "-c", "test -e /dev/go"]})]})
    go = pathlib.Path(guest.root / "dev/go")
    go.touch()
    first = wait_for_state(guest, "a", State.READY)
    go.unlink()
    Exec(guest.connect(), "sh", "-c", f"kill -9 {first.pid}").finish()
    again = agents.until(lambda: (one := listed(guest)["a"]).restarts and one.pid and one,
                         "it runs again")
    assert again.state == State.STARTING and again.pid != first.pid
    assert again.problem == "ended by signal 9"
    go.touch()
    wait_for_state(guest, "a", State.READY)


def test_what_a_dead_service_has_left_behind_is_gone_before_the_next_one(start):
    guest = start({"services": [shell("a", "sleep 3000 & echo $! >>/dev/left; sleep 0.1; exit 3")]})
    left = pathlib.Path(guest.root / "dev/left")
    agents.until(lambda: left.exists() and len(left.read_text().split()) >= 3, "three runs")
    wait_for_state(guest, "a", State.BACKOFF)
    assert listed(guest)["a"].problem == "exited with 3"
    def none_left():
        states = guest.programs()
        return not any(states.get(int(pid), "Z") not in "ZX" for pid in left.read_text().split()[:2])
    agents.until(none_left, "its children have gone")


def test_what_a_service_writes_can_be_read_and_never_holds_it_up(start):
    guest = start({"services": [
        shell("a", "echo out; echo err >&2; exec sleep 1000"),
        shell("loud", "i=0; while [ $i -lt 3000 ]; do echo 0123456789012345678901234567890123456789;"
                      " i=$((i+1)); done; echo end; exec sleep 1000")]})
    agents.until(lambda: log_of(guest, "a").data == b"out\nerr\n", "its lines")
    loud = agents.until(lambda: (log := log_of(guest, "loud")).data.endswith(b"end\n") and log,
                        "the last line")
    assert len(loud.data) == 64 << 10
    assert loud.lost == 3000 * 41 + 4 - (64 << 10)
    with pytest.raises(Exception, match="there is no service nobody"):
        log_of(guest, "nobody")


def test_services_end_in_reverse_before_the_guest_does(start):
    guest = start({"services": [shell("one", POLITE.format("one")),
                                shell("two", POLITE.format("two"), after=["one"]),
                                shell("three", POLITE.format("three"), after=["two"])]})
    for name in ("one", "two", "three"):
        wait_for_state(guest, name, State.READY)
        agents.until(lambda: log_of(guest, name).data, "it has set its trap")
    order = pathlib.Path(guest.root / "dev/order")
    order.touch()
    with open(order, encoding="ascii") as read:     # It outlives the guest.
        guest.shut_down()
        assert guest.end() == POWERED_OFF
        assert read.read() == "three\ntwo\none\n"


def test_a_service_that_does_not_end_is_killed_and_holds_up_nobody(start):
    guest = start({"services": [shell("a", "trap '' TERM; echo; while :; do sleep 1; done",
                                      stop_seconds=1)]})
    agents.until(lambda: wait_for_state(guest, "a", State.READY) and log_of(guest, "a").data,
                 "it has set its trap")
    guest.shut_down(grace_ns=3600 * SECOND)
    assert guest.end() == POWERED_OFF


def test_a_program_that_is_not_there_is_said_and_tried_again(start):
    guest = start({"services": [{"name": "a", "command": ["/no/such/program"]}]})
    one = agents.until(lambda: (one := listed(guest)["a"]).restarts > 1 and one, "it is tried again")
    assert "/no/such/program" in one.problem and one.pid == 0


def order(guest, method, name):
    request = getattr(services, f"{method}ServiceRequest")(name=name)
    return guest.connect().call(SERVICES, method, request,
                                getattr(services, f"{method}ServiceResponse"))


def test_a_service_is_stopped_by_call_with_those_after_it_and_stays_stopped(start):
    guest = start({"services": [shell("one", POLITE.format("one")),
                                shell("two", POLITE.format("two"), after=["one"]),
                                shell("other", "exec sleep 1000")]})
    for name in ("one", "two"):
        agents.until(lambda: log_of(guest, name).data, "it has set its trap")
    other = wait_for_state(guest, "other", State.READY)
    stopped = order(guest, "Stop", "one")
    assert (stopped.service.state, stopped.service.pid, list(stopped.others)) == \
        (State.STOPPED, 0, ["two"])
    assert pathlib.Path(guest.root / "dev/order").read_text() == "two\none\n"
    # Longer than any restart would take.
    order(guest, "Restart", "other")
    now = listed(guest)
    assert [now[name].state for name in ("one", "two")] == [State.STOPPED] * 2
    assert now["other"].pid != other.pid

    started = order(guest, "Start", "two")
    assert (started.service.state, list(started.others)) == (State.READY, ["one"])
    before = listed(guest)
    again = order(guest, "Restart", "one")
    assert (again.service.state, list(again.others)) == (State.READY, ["two"])
    after = agents.until(lambda: (now := listed(guest))["two"].state == State.READY and now,
                         "both run")
    assert all(after[name].pid not in (0, before[name].pid) for name in ("one", "two"))


def test_a_start_that_fails_says_how_and_an_unknown_name_which_there_are(start):
    guest = start({"services": [shell("bad", "exit 3", ready={"unix": "/dev/nobody.sock"}),
                                shell("good", "exec sleep 1000")]})
    wait_for_state(guest, "bad", State.BACKOFF)
    order(guest, "Stop", "bad")
    for method in ("Start", "Restart"):
        with pytest.raises(CallFailed) as failed:
            order(guest, method, "bad")
        assert (failed.value.code, failed.value.message) == (FAILED_PRECONDITION,
                                                             "bad: exited with 3")
    for method in ("Start", "Stop", "Restart"):
        with pytest.raises(CallFailed) as failed:
            order(guest, method, "nobody")
        assert (failed.value.code, failed.value.message) == (
            NOT_FOUND, "there is no service nobody; there are bad, good")


def test_a_client_that_does_not_wait_for_its_order_changes_nothing_of_it(start):
    guest = start({"services": [shell("a", "trap '' TERM; echo; while :; do sleep 0.1; done",
                                      stop_seconds=1)]})
    agents.until(lambda: log_of(guest, "a").data, "it has set its trap")
    client = guest.connect()
    client.begin(SERVICES, "Stop", services.StopServiceRequest(name="a"))
    wait_for_state(guest, "a", State.STOPPING)
    client.close()
    wait_for_state(guest, "a", State.STOPPED)


def test_events_tell_what_becomes_of_services(start):
    guest = start({"services": [
        shell("a", "test -e /dev/go && exec sleep 1000; exit 3", restart="never")]})
    wait_for_state(guest, "a", State.ENDED)
    events = Stream(guest.connect(), "sluice.agent.v1.Agent", "Events",
                    protocol.agent.EventsRequest(), protocol.agent.EventsResponse, flags=0)
    events.receive()

    def told():
        while True:
            event = events.receive()
            if event.WhichOneof("event") == "service":
                one = event.service
                return (one.name, Change.Change.Name(one.change), one.code, one.signal)

    client = guest.connect()
    client.begin(SERVICES, "Start", services.StartServiceRequest(name="a"))
    # Without what to be ready by it is ready as soon as it runs.
    assert [told() for _ in range(4)] == [("a", "STARTED", 0, 0), ("a", "READY", 0, 0),
                                          ("a", "ENDED", 3, 0), ("a", "GIVEN_UP", 0, 0)]
    pathlib.Path(guest.root / "dev/go").touch()
    order(guest, "Start", "a")
    order(guest, "Stop", "a")
    assert [told() for _ in range(4)] == [("a", "STARTED", 0, 0), ("a", "READY", 0, 0),
                                          ("a", "ENDED", 143, 15), ("a", "STOPPED", 0, 0)]


def test_hostctl_stops_and_starts_services_and_shows_what_becomes_of_them(start, tmp_path):
    guest = start({"services": [shell("one", "exec sleep 1000"),
                                shell("two", "exec sleep 1000", after=["one"])]})
    hostd = Hostd(tmp_path, f"unix:/proc/{guest.pid}/root{SOCKET}")
    try:
        hostd.wait_for_agent()
        wait_for_state(guest, "two", State.READY)
        with Following(hostd, "--json", "guest", "events") as events:
            assert json.loads(events.line())["kind"] == ""
            stopped = hostd.ctl("guest", "service", "stop", "one").stdout.decode()
            assert stopped == "one is stopped\nalso stopped: two\n"
            started = hostd.ctl("guest", "service", "start", "two").stdout.decode()
            assert started.startswith("two is ready (pid ") and \
                started.endswith("also started: one\n")
            again = json.loads(hostd.ctl("--json", "guest", "service", "restart", "one").stdout)
            assert (again["name"], again["state"], again["others"]) == ("one", "ready", ["two"])
            wrong = hostd.ctl("guest", "service", "stop", "nobody")
            assert wrong.returncode == 1
            assert b"there is no service nobody; there are one, two" in wrong.stderr
            told = [json.loads(events.line()) for _ in range(6)]
        assert {one["kind"] for one in told} == {"service"}
        words = [re.sub(r" \(pid \d+\)", "", one["text"]) for one in told]
        assert words == ["two ended by signal 15", "two is stopped", "one ended by signal 15",
                         "one is stopped", "one started", "one is ready"]
    finally:
        hostd.close()


@pytest.mark.parametrize("table, why", [
    ("{", "it is no JSON"),
    ({"services": [{"name": "a"}]}, "service a has no command"),
    ({"services": [{"name": "a", "command": ["x"], "after": ["b"]}]}, "after 'b'")])
def test_a_table_that_is_wrong_is_told_and_the_guest_boots(start, table, why):
    guest = start(table)
    step = guest.booted()[f"services of {TABLE}"]
    assert step.result == messages.BootStep.FAILED and why in step.message
    assert not listed(guest)


def test_directories_links_and_mounts_of_the_table_are_made(start):
    guest = start({
        "directories": [{"path": "/var/lib/docker", "mode": "0711"}, {"path": "/tmp"}],
        "links": [{"path": "/etc/ssl/cert.pem", "to": "/cacerts/ca.pem"}],
        "mounts": [{"source": "scratch", "target": "/scratch", "type": "tmpfs",
                    "options": "size=1m,mode=0700"},
                   {"source": "users", "target": "/Users", "type": "virtiofs", "optional": True},
                   {"source": "x", "target": "/x", "type": "no-such-type"}]})
    steps = agents.until(lambda: (steps := guest.booted()).get("link /etc/ssl/cert.pem") and steps,
                         "the links")
    assert (guest.root / "var/lib/docker").stat().st_mode & 0o7777 == 0o711
    assert steps["directory /tmp"].result == messages.BootStep.SKIPPED
    assert os.readlink(guest.root / "etc/ssl/cert.pem") == "/cacerts/ca.pem"
    assert steps["mount /scratch"].result == messages.BootStep.DONE
    assert (guest.root / "scratch").stat().st_mode & 0o777 == 0o700
    assert steps["mount /Users"].result == messages.BootStep.SKIPPED
    assert steps["mount /x"].result == messages.BootStep.FAILED
    assert steps["mount /x"].error_number


OTHER_INIT = "#!/bin/sh\necho $$ >/dev/other\nwhile :; do sleep 0.05; done\n"


def test_another_init_takes_over_in_a_guest_that_is_mounted(start):
    guest = start(None, USUAL + " sluice.handover=/sbin/other", f"/sbin/other={OTHER_INIT}")
    other = pathlib.Path(guest.root / "dev/other")
    agents.until(lambda: other.exists() and other.read_text() == "1\n", "it is PID 1")
    assert pathlib.Path(f"/proc/{guest.pid}/comm").read_text() == "other\n"
    steps = {step.name: step for step in guest.report().steps}
    assert steps["handover to /sbin/other"].result == messages.BootStep.DONE
    assert steps["mount /dev/shm"].result == messages.BootStep.DONE
    # The agent is its child, and goes on to serve.
    assert Exec(guest.connect(), "sh", "-c", "echo $PPID; exec cat /proc/$PPID/stat").finish()[0] \
        .split(b"\n")[1].split()[3] == b"1"
    with pytest.raises(Exception, match="not this guest's init"):
        guest.shut_down()


def test_a_handover_that_fails_leaves_the_agent_as_init_and_says_why(start):
    guest = start(None, USUAL + " sluice.handover=/sbin/nobody")
    step = guest.booted()["handover to /sbin/nobody"]
    assert step.result == messages.BootStep.FAILED and step.error_number == 2
    guest.shut_down(grace_ns=SECOND)
    assert guest.end() == POWERED_OFF


def test_a_file_that_is_no_program_is_no_init(start):
    guest = start(None, USUAL + " sluice.handover=/sbin/text", "/sbin/text=no program")
    step = guest.booted()["handover to /sbin/text"]
    assert step.result == messages.BootStep.FAILED and step.error_number == 8, step
    os.kill(guest.pid, signal.SIGTERM)
    assert guest.end() == POWERED_OFF

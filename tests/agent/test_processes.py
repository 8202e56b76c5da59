"""Processes by their id: signals, waits, lists, limits of time, and clients that go."""

import signal
import time

import pytest

from harness import agent as agents
from harness import protocol
from harness.client import AGENT, DATA, PROCESS, CallFailed, Exec

messages = protocol.process
SECOND = 10**9
NOT_FOUND, INVALID_ARGUMENT, CANCELLED, DEADLINE_EXCEEDED = 5, 3, 1, 4


def send_signal(client, process, number, group=False):
    client.call(PROCESS, "Signal",
                messages.SignalRequest(id=process, signal=number, group=group),
                messages.SignalResponse)


def wait(client, process, timeout_ns=0):
    return client.call(PROCESS, "Wait", messages.WaitRequest(id=process), messages.WaitResponse,
                       timeout_ns=timeout_ns).exit


def listed(client):
    return client.call(PROCESS, "List", messages.ListProcessesRequest(),
                       messages.ListProcessesResponse).processes


def detached(client, *args, **start):
    """The id and pid of a program that was started without its streams."""
    call = Exec(client, *args, detach=True, **start)
    assert call.receive() is None
    return call


def test_a_signal_reaches_the_process_and_the_wait_tells(client):
    call = detached(client, "sleep", "60")
    send_signal(client, call.id, signal.SIGTERM)
    status = wait(client, call.id)
    assert (status.code, status.signal, status.timed_out) == (143, 15, False)
    assert status.exited_at_ns > 0
    assert wait(client, call.id) == status      # And again, as long as it is remembered.


def test_a_signal_to_the_group_reaches_all_of_it(client, tmp_path):
    pids = tmp_path / "pids"
    call = detached(client, "sh", "-c", f"sleep 60 & echo $! >{pids}; wait")
    child = int(agents.until(lambda: pids.exists() and pids.read_text(), "the child runs"))
    send_signal(client, call.id, signal.SIGKILL, group=True)
    assert wait(client, call.id).signal == 9
    agents.until(lambda: not agents.runs(child), "the child ends")


def test_a_signal_over_the_stream_reaches_the_group(client):
    call = Exec(client, "sh", "-c", "trap 'exit 9' USR1; echo ready; while :; do sleep 0.02; done")
    assert call.receive().stdout == b"ready\n"
    call.send(signal=signal.SIGUSR1)
    call.finish()
    assert call.exit.signal == signal.SIGUSR1 or call.exit.code == 9


@pytest.mark.parametrize("number", [0, 65, 2**32 - 1])
def test_what_is_no_signal_is_refused(client, number):
    call = detached(client, "sleep", "60")
    with pytest.raises(CallFailed) as failed:
        send_signal(client, call.id, number)
    assert failed.value.code == INVALID_ARGUMENT
    send_signal(client, call.id, 9)
    assert wait(client, call.id).signal == 9


def test_unknown_and_ended_processes_are_not_found(client):
    call = detached(client, "true")
    wait(client, call.id)
    for question in (lambda: send_signal(client, call.id, 9),
                     lambda: send_signal(client, "nobody", 9), lambda: wait(client, "nobody"),
                     lambda: wait(client, "")):
        with pytest.raises(CallFailed) as failed:
            question()
        assert failed.value.code == NOT_FOUND


def test_the_list_has_what_runs_and_what_ended(client):
    running = detached(client, "sleep", "60")
    ended = detached(client, "sh", "-c", "exit 5")
    wait(client, ended.id)
    found = {one.id: one for one in listed(client)}
    assert list(found[running.id].args) == ["sleep", "60"]
    assert found[running.id].pid == running.pid
    assert not found[running.id].HasField("exit")
    assert found[ended.id].exit.code == 5
    assert found[ended.id].started_at_ns <= found[ended.id].exit.exited_at_ns
    send_signal(client, running.id, 9)
    wait(client, running.id)


def test_two_clients_wait_for_one_end(agent, client):
    call = detached(client, "sleep", "60")
    other = agent.connect()
    request = messages.WaitRequest(id=call.id)
    first = client.begin(PROCESS, "Wait", request)
    second = client.begin(PROCESS, "Wait", request)
    third = other.begin(PROCESS, "Wait", request)
    client.ping()
    other.ping()
    send_signal(client, call.id, 9)
    for connection, stream in ((client, first), (client, second), (other, third)):
        assert connection.end(stream, messages.WaitResponse).exit.signal == 9
    other.close()


def test_a_wait_has_a_deadline_and_the_process_goes_on(client):
    call = detached(client, "sleep", "60")
    with pytest.raises(CallFailed) as failed:
        wait(client, call.id, timeout_ns=SECOND // 20)
    assert failed.value.code == DEADLINE_EXCEEDED
    assert agents.runs(call.pid)
    send_signal(client, call.id, 9)
    assert wait(client, call.id).signal == 9


def test_a_timeout_kills_the_group_and_says_so(client):
    began = time.monotonic()
    call = Exec(client, "sh", "-c", "trap '' TERM; sleep 1000 & sleep 1000",
                timeout_ns=SECOND // 5)
    call.finish()
    assert (call.exit.signal, call.exit.code, call.exit.timed_out) == (9, 137, True)
    assert time.monotonic() - began > 0.15


def test_a_timeout_of_what_was_detached_says_so_too(client):
    call = detached(client, "sleep", "60", timeout_ns=SECOND // 10)
    status = wait(client, call.id)
    assert (status.signal, status.timed_out) == (9, True)


@pytest.mark.parametrize("timeout", [-1, 2**63 - 1])
def test_a_timeout_that_is_none_or_for_ever_kills_nobody(client, timeout):
    call = Exec(client, "sleep", "0.1", timeout_ns=timeout)
    call.finish()
    assert (call.exit.code, call.exit.timed_out) == (0, False)


def test_what_is_detached_outlives_its_client(agent, client):
    other = agent.connect()
    call = detached(other, "sleep", "60")
    other.close()
    client.ping()
    assert agents.runs(call.pid)
    send_signal(client, call.id, 9)
    assert wait(client, call.id).signal == 9


def test_the_deadline_of_a_call_ends_its_program(client):
    first = messages.ExecRequest(start=messages.ExecStart(args=["sleep", "60"]))
    stream = client.begin(PROCESS, "Exec", first, flags=2, timeout_ns=SECOND)
    kind, _, payload = client.read_frame(stream)
    assert kind == DATA
    pid = messages.ExecResponse.FromString(payload).started.pid
    with pytest.raises(CallFailed) as failed:
        client.end(stream, messages.ExecResponse)
    assert failed.value.code == DEADLINE_EXCEEDED
    agents.until(lambda: not agents.runs(pid), "the program ends")


def test_cancel_ends_a_call_and_its_program(client):
    call = Exec(client, "sleep", "60")
    client.call(AGENT, "Cancel", protocol.agent.CancelRequest(stream_id=call.stream),
                protocol.agent.CancelResponse)
    with pytest.raises(CallFailed) as failed:
        call.finish()
    assert failed.value.code == CANCELLED
    agents.until(lambda: not agents.runs(call.pid), "the program ends")


def test_who_ignores_the_hang_up_is_killed_five_seconds_after_its_client_went(agent, client):
    """And none of its children is left, whichever of them ignores it, and no earlier timeout is
    forgotten."""
    other = agent.connect()
    stubborn = Exec(other, "sh", "-c", "trap '' HUP; sleep 1000 & echo $!; wait")
    children = [int(stubborn.receive().stdout)]
    leaderless = Exec(other, "sh", "-c", "(trap '' HUP; sleep 1000) & echo $!; wait")
    children.append(int(leaderless.receive().stdout))
    short = Exec(other, "sh", "-c", "trap '' HUP; echo; while :; do sleep 1000; done",
                 timeout_ns=2 * SECOND)
    short.receive()
    polite = Exec(other, "sleep", "1000")
    # The subshell has set its trap once it sleeps.
    agents.until(lambda: all(sleeps(pid) for pid in (children[0], children[1])), "they sleep")
    began = time.monotonic()
    other.close()
    agents.until(lambda: not agents.runs(polite.pid), "the polite one ends")
    assert wait(client, short.id).timed_out
    left = [agents.runs(pid) for pid in (stubborn.pid, *children)]
    assert all(left) or time.monotonic() - began > 4.5
    agents.until(lambda: not any(agents.runs(pid) for pid in (stubborn.pid, *children)), "all end")
    assert time.monotonic() - began > 4.5
    client.ping()


def sleeps(pid):
    """The process, or a child of it, is the program sleep."""
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
        pids = [pid, *map(int, file.read().split())]
    for one in pids:
        with open(f"/proc/{one}/comm", encoding="ascii") as comm:
            if comm.read() == "sleep\n":
                return True
    return False


def test_the_last_256_ends_are_remembered(client):
    first = detached(client, "true")
    wait(client, first.id)
    second = detached(client, "true")
    wait(client, second.id)
    for _ in range(255):
        wait(client, detached(client, "true").id)
    assert wait(client, second.id).code == 0
    with pytest.raises(CallFailed) as failed:
        wait(client, first.id)
    assert failed.value.code == NOT_FOUND
    assert len(listed(client)) == 256


def test_long_arguments_make_no_list_that_cannot_be_sent(client):
    long = ["x" * 100_000] * 9
    for _ in range(20):
        wait(client, detached(client, "true", *long).id)
    shown = listed(client)[-1]
    assert shown.args[0] == "true"
    assert sum(len(arg) for arg in shown.args) < 10_000

"""Programs in a terminal."""

import pytest

from harness import agent as agents
from harness import protocol
from harness.client import Exec

SIZE = protocol.process.TerminalSize


def text(call):
    out, err = call.finish()
    assert err == b""
    return out.decode()


def read_until(call, wanted):
    seen = ""
    while wanted not in seen:
        message = call.receive()
        assert message is not None and message.WhichOneof("message") != "exit", seen
        seen += message.stdout.decode()
    return seen


def test_a_terminal_has_the_size_that_was_asked_for(client):
    call = Exec(client, "stty", "size", terminal=SIZE(rows=30, columns=100))
    assert text(call) == "30 100\r\n"
    call = Exec(client, "stty", "size", terminal=SIZE())
    assert text(call) == "24 80\r\n"
    call = Exec(client, "stty", "size", terminal=SIZE(rows=2**32 - 1, columns=1))
    assert text(call) == "65535 1\r\n"


def test_all_three_streams_are_the_terminal_and_it_is_the_controlling_one(client):
    call = Exec(client, "sh", "-c",
                "test -t 0 && test -t 1 && test -t 2 && echo $TERM >/dev/tty; echo err >&2",
                terminal=SIZE())
    assert text(call) == "xterm\r\nerr\r\n"
    assert call.exit.code == 0


def test_a_resize_is_told_to_the_program(client):
    call = Exec(client, "sh", "-c",
                "trap 'stty size; exit 5' WINCH; echo ready; while :; do sleep 0.02; done",
                terminal=SIZE(rows=10, columns=20))
    read_until(call, "ready")
    call.send(resize=SIZE(rows=33, columns=44))
    assert text(call) == "33 44\r\n"
    assert call.exit.code == 5


def test_closing_the_input_types_the_end_of_file_key(client):
    call = Exec(client, "cat", terminal=SIZE())
    call.send(stdin=b"line\n")
    read_until(call, "line\r\nline\r\n")
    call.send(stdin_closed=True)
    text(call)
    assert call.exit.code == 0


def test_the_end_of_file_key_costs_no_credit_and_gives_none(client):
    call = Exec(client, "sh", "-c", "cat; cat; cat; echo over; sleep 60", terminal=SIZE())
    credit = 0
    for _ in range(3):
        call.send(stdin=b"x\n")
        credit -= 2
        call.send(stdin_closed=True)
    seen = ""
    while "over" not in seen or credit < 0:
        message = call.receive()
        if message.WhichOneof("message") == "grant":
            credit += message.grant
        else:
            seen += message.stdout.decode()
    assert credit == 0
    call.send(signal=9)
    call.finish()


@pytest.mark.timing
def test_a_program_that_never_reads_costs_no_memory_however_often_its_input_is_closed(
        agent, client):
    call = Exec(client, "sh", "-c", "stty raw -echo; echo ready; sleep 60", terminal=SIZE())
    read_until(call, "ready")
    before = agent.rss()
    for _ in range(100_000):
        call.send(stdin_closed=True)
    client.ping()
    assert agent.rss() - before < 200_000
    call.send(signal=9)
    call.finish()


def test_the_interrupt_key_interrupts(client):
    call = Exec(client, "sh", "-c", "echo ready; exec sleep 60", terminal=SIZE())
    read_until(call, "ready")
    call.send(stdin=b"\x03")
    call.finish()
    assert (call.exit.signal, call.exit.code) == (2, 130)


def test_a_terminal_that_goes_hangs_up_its_program(agent):
    client = agent.connect()
    call = Exec(client, "sh", "-c", "echo ready; exec sleep 60", terminal=SIZE())
    read_until(call, "ready")
    client.close()
    agents.until(lambda: not agents.runs(call.pid), "the program ends")


def test_a_megabyte_through_a_terminal_is_whole(client):
    call = Exec(client, "sh", "-c", "stty -opost; head -c 1000000 /dev/zero", terminal=SIZE())
    assert text(call) == "\0" * 1_000_000

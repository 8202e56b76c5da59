"""What programs read: on credit, whole, with an end."""

import zlib

import pytest

from harness.client import DATA, NO_DATA, REMOTE_CLOSED, CallFailed, Exec

MIB = 1 << 20
CREDIT = 256 << 10
PIECE = 64 << 10


def test_64_mib_echo_whole(client):
    call = Exec(client, "cat")
    piece = bytes((i * 7 + i // 251) % 256 for i in range(PIECE - 5))
    left = 64 * MIB // len(piece)
    expected, crc, got, credit = 0, 0, 0, CREDIT
    while True:
        while left and credit >= len(piece):
            call.send(stdin=piece)
            expected = zlib.crc32(piece, expected)
            credit -= len(piece)
            left -= 1
            if not left:
                call.send(stdin_closed=True)
        message = call.receive()
        if message is None:
            break
        kind = message.WhichOneof("message")
        if kind == "grant":
            credit += message.grant
            assert credit <= CREDIT
        elif kind == "stdout":
            crc = zlib.crc32(message.stdout, crc)
            got += len(message.stdout)
            call.send(grant=len(message.stdout))
        elif kind == "exit":
            assert message.exit.code == 0
    assert got == 64 * MIB // len(piece) * len(piece)
    assert crc == expected


def test_the_end_of_input_comes_after_all_of_it(run):
    assert run("wc", "-c", stdin=b"x" * PIECE).out == f"{PIECE}\n".encode()
    assert run("cat").out == b""


def test_an_end_of_input_that_is_none_is_none(client):
    call = Exec(client, "cat")
    call.send(stdin_closed=False)
    call.send(stdin=b"more")
    call.send(stdin_closed=True)
    assert call.finish()[0] == b"more"


def test_a_half_closed_stream_is_the_end_of_input(client):
    call = Exec(client, "cat")
    call.send(stdin=b"all")
    client.send_frame(call.stream, DATA, REMOTE_CLOSED | NO_DATA)
    assert call.finish(grant=False)[0] == b"all"


def test_input_beyond_the_credit_ends_the_call(client):
    call = Exec(client, "sleep", "60")
    for _ in range(CREDIT // PIECE):
        call.send(stdin=b"x" * PIECE)
    client.ping()
    # What the program's pipe took was granted again: so much more, and a byte.
    granted = call.receive().grant
    assert 0 < granted <= PIECE
    call.send(stdin=b"x" * granted)
    client.ping()
    call.send(stdin=b"x")
    with pytest.raises(CallFailed) as failed:
        call.finish()
    assert failed.value.code == 8


def test_too_much_at_once_ends_the_call(client):
    call = Exec(client, "sleep", "60")
    call.send(stdin=b"x" * (PIECE + 1))
    with pytest.raises(CallFailed) as failed:
        call.finish()
    assert failed.value.code == 3


def test_a_program_that_does_not_read_holds_up_nobody(client):
    stuck = Exec(client, "sleep", "60")
    for _ in range(CREDIT // PIECE):
        stuck.send(stdin=b"x" * PIECE)
    other = Exec(client, "cat")
    other.send(stdin=b"quick")
    other.send(stdin_closed=True)
    assert other.finish()[0] == b"quick"
    stuck.send(signal=9)
    stuck.finish()
    assert stuck.exit.signal == 9


def test_input_for_a_program_that_has_closed_its_stdin_goes_nowhere(client):
    call = Exec(client, "sh", "-c", "exec 0<&-; echo closed; read x <&1; sleep 60")
    assert call.receive().stdout == b"closed\n"
    sent, credit = 0, CREDIT
    while sent < 2 * MIB:
        while credit >= PIECE:
            call.send(stdin=b"x" * PIECE)
            credit -= PIECE
            sent += PIECE
        message = call.receive()
        if message.WhichOneof("message") == "grant":
            credit += message.grant
        assert credit <= CREDIT
    call.send(signal=9)
    call.finish()
    assert call.exit.signal == 9

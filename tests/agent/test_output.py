"""What programs print: whole, in order, at the reader's pace, and at nobody else's cost."""

import time
import zlib

import pytest

from harness import agent as agents
from harness.client import Exec

MIB = 1 << 20
CREDIT = 256 << 10


@pytest.fixture(scope="module")
def block(tmp_path_factory):
    """A file of a size that no power of two divides, and its bytes."""
    made = tmp_path_factory.mktemp("block") / "block"
    state, words = 1, []
    for _ in range(131_101):
        state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
        words.append(state.to_bytes(8, "big"))
    data = b"".join(words)
    made.write_bytes(data)
    return made, data


def test_stdout_and_stderr_are_apart(run):
    result = run("sh", "-c", "echo out; echo err >&2; echo out2")
    assert (result.out, result.err) == (b"out\nout2\n", b"err\n")


def test_any_bytes_come_as_they_are(run):
    every = bytes(range(256)) * 300
    assert run("cat", stdin=every[:65536]).out == every[:65536]


def test_a_gibibyte_arrives_whole_though_its_reader_pauses_and_memory_stays(agent, client, block):
    path, data = block
    copies = (64 if agents.SANITIZED else 1024) * MIB // len(data)
    expected = 0
    for _ in range(copies):
        expected = zlib.crc32(data, expected)
    before = agent.rss()
    most = before

    call = Exec(client, "cat", *[str(path)] * copies)
    got, crc, owed, pauses = 0, 0, 0, 0
    while (message := call.receive()) is not None:
        if message.WhichOneof("message") == "exit":
            assert message.exit.code == 0
            continue
        piece = message.stdout
        crc = zlib.crc32(piece, crc)
        got += len(piece)
        owed += len(piece)
        if got // (copies * len(data) // 4) > pauses:
            pauses += 1
            agents.until(lambda: is_stuck(call.pid), "the program waits for its reader")
            most = max(most, agent.rss())
        if owed >= CREDIT // 2:
            call.send(grant=owed)
            owed = 0
    assert got == copies * len(data)
    assert crc == expected
    assert pauses >= 3
    if not agents.SANITIZED:
        assert most - before < 4 * MIB
        assert agent.rss() - before < 2 * MIB


def is_stuck(pid):
    """The program has written nothing for a while, as it can't, or it has ended."""
    def written():
        try:
            with open(f"/proc/{pid}/io", encoding="ascii") as io:
                return io.read().split("wchar: ")[1].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return "ended"

    first = written()
    for _ in range(5):
        time.sleep(0.002)
        if written() != first:
            return False
    return True


def is_idle(agent):
    """Whether it used next to no time in a while in which it could have used much."""
    ticks = agent.cpu_ticks()
    time.sleep(0.5)
    return agent.cpu_ticks() - ticks <= 5


def test_no_more_comes_than_was_granted(client):
    call = Exec(client, "cat", "/dev/zero")
    got = 0
    while got < CREDIT:
        got += len(call.receive().stdout)
    assert got == CREDIT
    client.ping()       # Had there been more, it would have come before this answer.
    agents.until(lambda: is_stuck(call.pid), "the program waits")
    client.ping()
    assert not call.waits()
    call.send(grant=1000)
    assert len(call.receive().stdout) == 1000
    call.send(signal=9)
    call.send(grant=1 << 20)        # The exit comes after what the pipe still has.
    call.finish()
    assert call.exit.signal == 9


def test_a_program_that_used_up_its_credit_exactly_still_ends(client):
    call = Exec(client, "head", "-c", str(CREDIT), "/dev/zero")
    out, _ = call.finish(grant=False)
    assert len(out) == CREDIT
    assert call.exit.code == 0


def test_output_that_was_not_granted_in_time_is_not_lost(client):
    call = Exec(client, "head", "-c", str(CREDIT + 5000), "/dev/zero")
    got = 0
    while got < CREDIT:
        got += len(call.receive().stdout)
    agents.until(lambda: not agents.runs(call.pid), "the program has ended")
    client.ping()
    call.send(grant=1 << 20)
    out, _ = call.finish()
    assert (got + len(out), call.exit.code) == (CREDIT + 5000, 0)


def test_a_slow_reader_delays_no_other_stream_of_its_connection(client):
    slow = Exec(client, "cat", "/dev/zero")
    fast = Exec(client, "head", "-c", str(16 * MIB), "/dev/zero")
    assert len(fast.finish()[0]) == 16 * MIB
    slow.send(signal=9)
    slow.finish()
    assert slow.exit.signal == 9


def test_a_connection_that_is_not_read_delays_no_other(agent, client):
    before = agent.rss()
    stuck = agent.connect()
    calls = [Exec(stuck, "cat", "/dev/zero") for _ in range(4)]
    for call in calls:
        call.send(grant=2**32 - 1)
    agents.until(lambda: all(is_stuck(call.pid) for call in calls), "the programs wait")
    fast = Exec(client, "head", "-c", str(16 * MIB), "/dev/zero")
    assert len(fast.finish()[0]) == 16 * MIB
    if not agents.SANITIZED:
        assert agent.rss() - before < 4 * MIB
    agents.until(lambda: is_idle(agent), "it doesn't spin either")
    stuck.close()
    agents.until(lambda: not any(agents.runs(call.pid) for call in calls), "they end")


def test_a_background_process_that_keeps_stdout_does_not_delay_the_exit(client):
    call = Exec(client, "sh", "-c", "sleep 1000 & echo $!; exit 3")
    out, _ = call.finish()
    assert agents.runs(int(out))
    agents.kill(int(out))
    assert call.exit.code == 3


def test_nor_does_one_that_prints_without_end(client):
    call = Exec(client, "sh", "-c", "yes & echo $! >&2; exit 3")
    _, err = call.finish()
    agents.kill(int(err))       # Where the end of its pipe has not ended it.
    assert call.exit.code == 3


def test_the_last_words_of_a_program_come_before_its_exit(client):
    for _ in range(50):
        call = Exec(client, "sh", "-c", "sleep 0.01; echo last; echo words >&2; exit 7")
        assert call.finish() == (b"last\n", b"words\n")
        assert call.exit.code == 7

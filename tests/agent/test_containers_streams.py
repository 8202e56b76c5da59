"""What containers write and read: logs, rotation, attached clients, slow ones and those that go."""

import hashlib
import json
import re
import time

import pytest

from harness import agent as agents
from harness import containers
from harness.client import CallFailed
from harness.containers import Box, messages

SECOND = 10**9
FAILED_PRECONDITION, INVALID_ARGUMENT = 9, 3
SMALL = messages.LogLimits(file_bytes=64 << 10, files=3)

FORMATS = [messages.LOG_FORMAT_RECORDS, messages.LOG_FORMAT_JSON_FILE]

pytestmark = pytest.mark.skipif(containers.why_not() is not None, reason=str(containers.why_not()))

rootfs, agent, client, box = containers.fixtures()


# Lines with their number, so that each lost or doubled byte shows.
COUNT = "i=0; while [ $i -lt {} ]; do echo line $i; i=$((i+1)); done"


def counted(lines):
    return b"".join(b"line %d\n" % number for number in range(lines))


def test_a_gibibyte_by_an_attach_that_pauses_is_whole(agent, box):
    size = 1 << 26 if agents.SANITIZED else 1 << 30
    made = box.create("sh", "-c", f"head -c {size} /dev/zero | tr '\\0' 'x'").id
    attach = box.attach(made)
    box.call("Start", container=made)
    digest, got, paused = hashlib.sha256(), 0, 0
    while (message := attach.receive()) is not None:
        if message.WhichOneof("message") == "exit":
            attach.exit = message.exit
            continue
        digest.update(message.stdout)
        got += len(message.stdout)
        attach.send(grant=len(message.stdout))
        if got >= paused:
            paused += size // 4
            time.sleep(0.2)     # The reader's pause: what is tested is that nothing is lost by it.
    assert (got, attach.exit.code) == (size, 0)
    expected = hashlib.sha256()
    for _ in range(size >> 20):
        expected.update(b"x" * (1 << 20))
    assert digest.digest() == expected.digest()
    if not agents.SANITIZED:
        assert agent.rss() < 24 << 20


def test_a_reader_that_grants_nothing_holds_the_container_and_loses_nothing(box):
    made = box.create("sh", "-c", "head -c 20000000 /dev/zero; echo over >&2", log=SMALL).id
    attach = box.attach(made)
    box.call("Start", container=made)
    time.sleep(0.3)     # In which it would have ended, were it not held.
    assert box.state(made) == "RUNNING"
    out, err = attach.finish()
    assert len(out) == 20_000_000 and err == b"over\n"


def test_a_reader_that_must_not_hold_it_does_not(box):
    made = box.create("head", "-c", "20000000", "/dev/zero", log=SMALL).id
    attach = box.attach(made, no_hold=True)
    box.call("Start", container=made)
    assert box.wait(made).code == 0
    out, _ = attach.finish()
    assert 0 < len(out) < 20_000_000


def test_a_client_that_goes_holds_nobody_up(agent, box):
    made = box.create("head", "-c", "20000000", "/dev/zero").id
    other = Box(agent.connect(), box.rootfs)
    other.attach(made)
    box.call("Start", container=made)
    time.sleep(0.1)     # It is held by now, or will be: either way it must end.
    other.client.close()
    assert box.wait(made).code == 0


def test_a_slow_reader_is_beside_a_fast_one_and_each_gets_all(agent, box):
    slow = Box(agent.connect(), box.rootfs)
    made = box.run("sh", "-c", "sleep 0.1; " + COUNT.format(20_000))
    slow_logs = slow.logs(made, follow=True)
    logs = box.logs(made, follow=True)
    assert logs.text() == counted(20_000)
    assert logs.reason() == "EXITED"
    assert slow_logs.text() == counted(20_000)


@pytest.mark.parametrize("log_format", FORMATS)
def test_logs_that_rotate_while_they_are_followed_are_whole(box, log_format):
    # The attached client paces it. By its credit of 256 KiB and two pipes it may be ahead of the
    # follower, who holds nobody up: two files hold that, which is many times as long in JSON.
    log = messages.LogLimits(file_bytes=(1792 if log_format else 768) << 10, files=3)
    made = box.create("sh", "-c", "sleep 0.1; " + COUNT.format(80_000), log=log,
                      log_format=log_format).id
    behind = 16 << 10
    attach = box.attach(made)
    follower = Box(box.client, box.rootfs).logs(made, follow=True)
    box.call("Start", container=made)
    seen, lost = bytearray(), 0
    out = bytearray()
    records = follower.records()
    while (message := attach.receive()) is not None:
        out += message.stdout
        # Either of the two may be the first to end.
        while len(seen) + lost + behind < len(out) and (record := next(records, None)) is not None:
            seen += record.data
            lost += record.lost
        attach.send(grant=len(message.stdout))
    for record in records:
        seen += record.data
        lost += record.lost
    assert bytes(out) == counted(80_000)
    assert lost == 0 and bytes(seen) == counted(80_000)
    assert box.logs(made).text() in counted(80_000)


def test_no_more_files_are_kept_than_were_asked_for(agent, box):
    made = box.run("head", "-c", "2000000", "/dev/zero", log=SMALL)
    box.wait(made)
    files = list((agent.data / "containers" / made / "log").iterdir())
    assert len(files) == 3
    # A record is whole in one file, so one of them may be the larger by none.
    assert all(one.stat().st_size <= 64 << 10 or one.stat().st_size <= (64 << 10) + 24
               for one in files)


def test_what_was_rotated_away_is_told_as_lost(box):
    made = box.run("head", "-c", "2000000", "/dev/zero", log=SMALL)
    box.wait(made)
    first = next(iter(box.logs(made, offset=1).records()))
    assert first.lost > 1_000_000
    # Who asks for all that there is misses nothing.
    assert sum(record.lost for record in box.logs(made).records()) == 0


def test_a_reader_goes_on_where_another_left_off(box):
    # What is written before the last is read is one record with it; so each waits until it was.
    made = box.run("sh", "-c", "for i in 1 2 3; do echo $i; read x; done", open_stdin=True)
    attach = box.attach(made)
    for lines in (2, 4, 6):
        agents.until(lambda n=lines: len(box.logs(made).text()) == n, "the line is in the log")
        attach.send(stdin=b"\n")
    box.wait(made)
    records = list(box.logs(made).records())
    assert [record.data for record in records] == [b"1\n", b"2\n", b"3\n"]
    for number, record in enumerate(records[:-1]):
        rest = b"".join(one.data for one in records[number + 1:])
        logs = box.logs(made, offset=record.next_offset)
        assert logs.text() == rest
        assert logs.end.next_offset == records[-1].next_offset


@pytest.mark.parametrize("lines", [1, 2, 7, 200])
def test_the_tail_has_the_latest_lines(box, lines):
    made = box.run("sh", "-c", COUNT.format(50) + "; sleep 0.05; printf end")
    box.wait(made)
    expected = (counted(50) + b"end").splitlines(keepends=True)[-lines:]
    assert box.logs(made, tail=lines).text() == b"".join(expected)


def test_streams_and_times_are_filters(box):
    made = box.run("sh", "-c", "echo out; echo err >&2; read x; echo late", open_stdin=True)
    agents.until(lambda: len(box.logs(made).text()) == 8, "both lines are in the log")
    box.attach(made).send(stdin=b"\n")
    box.wait(made)
    assert box.logs(made, no_stdout=True).text() == b"err\n"
    assert box.logs(made, no_stderr=True).text() == b"out\nlate\n"
    assert box.logs(made, no_stderr=True, tail=1).text() == b"late\n"
    late = [one for one in box.logs(made).records() if one.data == b"late\n"][0]
    assert box.logs(made, since_ns=late.time_ns).text() == b"late\n"
    until = box.logs(made, until_ns=late.time_ns)
    assert sorted(until.text()) == sorted(b"out\nerr\n") and until.reason() == "UNTIL"
    assert late.partial is False


def test_a_follow_ends_at_its_time_though_nothing_is_written(box):
    made = box.run("sleep", "60")
    logs = box.logs(made, follow=True, until_ns=time.time_ns() + SECOND // 5)
    assert logs.text() == b"" and logs.reason() == "UNTIL"
    assert box.state(made) == "RUNNING"


def test_each_end_says_why(box):
    made = box.run("sh", "-c", "echo x; sleep 60")
    agents.until(lambda: box.logs(made).text(), "it writes")
    logs = box.logs(made)
    assert logs.text() == b"x\n" and logs.reason() == "CAUGHT_UP"
    new = box.logs(made, follow=True, only_new=True)
    box.call("Stop", container=made, timeout_ns=-1)
    assert new.text() == b"" and new.reason() == "EXITED"
    created = box.create("true").id
    waits = box.logs(created, follow=True)
    box.call("Remove", container=created)
    assert waits.text() == b"" and waits.reason() == "REMOVED"


def test_docker_s_format_has_a_line_of_json_for_each_line(agent, box):
    made = box.run("sh", "-c", "echo hello; echo '\"quoted\"' >&2; printf 'caf\\351'",
                   log_format=messages.LOG_FORMAT_JSON_FILE)
    box.wait(made)
    assert box.call("Inspect", container=made).log_format == messages.LOG_FORMAT_JSON_FILE
    (file,) = (agent.data / "containers" / made / "log").iterdir()
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    told = sorted((one["stream"], one["log"]) for one in lines)
    assert told == [("stderr", '"quoted"\n'), ("stdout", "caf\ufffd"), ("stdout", "hello\n")]
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z", one["time"])
               for one in lines)


def test_docker_s_format_is_read_from_any_place(box):
    made = box.run("sh", "-c", "echo one; sleep 0.2; echo two",
                   log_format=messages.LOG_FORMAT_JSON_FILE)
    box.wait(made)
    box.call("Start", container=made)
    box.wait(made)
    logs = box.logs(made)
    first = next(logs.records())
    assert first.data == b"one\n"
    assert box.logs(made, offset=first.next_offset).text() == b"two\none\ntwo\n"
    assert box.logs(made, tail=3).text() == b"two\none\ntwo\n"


@pytest.mark.parametrize("log_format", FORMATS)
def test_bytes_are_what_they_were(box, log_format):
    made = box.run("sh", "-c", "printf '\\000\\377\\r\\n\\n\\n'; printf 'no end'",
                   log_format=log_format)
    box.wait(made)
    records = list(box.logs(made).records())
    assert b"".join(one.data for one in records) == b"\0\xff\r\n\n\nno end"
    assert records[-1].partial


def test_questions_that_contradict_themselves_are_refused(box):
    made = box.create("true").id
    with pytest.raises(CallFailed) as failed:
        box.logs(made, offset=5, tail=1).text()
    assert failed.value.code == INVALID_ARGUMENT


def test_more_input_than_was_granted_ends_the_call_and_not_the_container(box):
    made = box.run("sleep", "60", open_stdin=True)
    attach = box.attach(made)
    with pytest.raises(CallFailed):
        for _ in range(40):
            attach.send(stdin=b"x" * 65536)
        attach.finish()
    assert box.state(made) == "RUNNING"


def test_ten_megabytes_of_input_are_whole(box):
    made = box.create("sh", "-c", "sha256sum", open_stdin=True).id
    attach = box.attach(made)
    box.call("Start", container=made)
    data = bytes(range(256)) * 40_000
    sent, credit, out = 0, 256 << 10, b""
    while (message := attach.receive() if credit == 0 or sent == len(data) else True) is not None:
        if message is True:
            piece = data[sent:sent + min(credit, 65536)]
            attach.send(stdin=piece)
            sent += len(piece)
            credit -= len(piece)
            if sent == len(data):
                attach.send(stdin_closed=True)
            continue
        credit += message.grant
        out += message.stdout
    assert out.split()[0].decode() == hashlib.sha256(data).hexdigest()

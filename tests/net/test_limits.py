"""At the end of a resource: an honest error for the new, nothing for the old, no spinning."""
import errno
import select

import pytest

from harness.clients import WORLD, connect_error, pair, read_exactly
from harness.netns import wait_for
from harness.servers import LoadServer

pytestmark = pytest.mark.hostd
FEW = ("prlimit", "--nofile=96:96")


@pytest.mark.timing
def test_without_descriptors_new_flows_are_refused_and_old_ones_go_on(gateway, world):
    net = gateway(wrapper=FEW)
    guest, server = pair(net.guest, world.world, WORLD[4])
    with guest, server, world.world.listen(WORLD[4], backlog=512) as listener:
        port, held, errors = listener.getsockname()[1], [], []
        for _ in range(150):
            try:
                held.append(net.guest.connect(WORLD[4], port, timeout=10))
            except OSError as error:            # ETIMEDOUT, which is silence, has no place here
                errors.append(error.errno)
        assert held and errors and set(errors) <= {errno.ECONNREFUSED, errno.EHOSTUNREACH,
                                                   errno.ENETUNREACH}
        wait_for(lambda: net.idles(0.1), what="it does not spin")
        guest.sendall(b"still")
        assert read_exactly(server, 5) == b"still"
        for s in held:
            s.close()
        while select.select([listener], [], [], 0)[0]:
            listener.accept()[0].close()
        wait_for(lambda: connect_error(net.guest, WORLD[4], port)[0] is None,
                 what="a new flow once there is room")


@pytest.mark.timing
def test_without_descriptors_a_published_port_does_not_spin(gateway, world):
    net = gateway(wrapper=FEW, publish=["127.0.0.1:0:80"])
    with net.guest.listen("0.0.0.0", 80, backlog=256) as listener:
        clients = [world.host.connect("127.0.0.1", net.port(80)) for _ in range(150)]
        wait_for(lambda: net.idles(0.1), what="it does not spin")
        for client in clients:
            client.close()
        while select.select([listener], [], [], 0.2)[0]:
            listener.accept()[0].close()

        def served():
            with world.host.connect("127.0.0.1", net.port(80)) as client:
                if not select.select([listener], [], [], 0.5)[0]:
                    return False
                with listener.accept()[0] as server:
                    server.sendall(b"ok")
                    return client.recv(2) == b"ok"
        wait_for(served, what="a client served once there is room")


def test_more_flows_than_the_limit_cost_no_live_one(gateway, world):
    """2,000 idle flows beside a working one; `-m long` opens more than the table holds."""
    crowd(gateway, world, 2_000)


@pytest.mark.long
def test_17_000_flows_cost_no_live_one(gateway, world):
    crowd(gateway, world, 17_000)


def crowd(gateway, world, count):
    import resource
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    net = gateway()
    guest, server = pair(net.guest, world.world, WORLD[4])
    held = []
    with guest, server, world.world.listen(WORLD[4], backlog=4096) as listener:
        port = listener.getsockname()[1]
        try:
            for _ in range(count):
                try:
                    held.append(net.guest.connect(WORLD[4], port))
                    held.append(listener.accept()[0])
                except ConnectionRefusedError:
                    assert len(held) >= 2 * 16_000, "refused below the limit"
                    break
            guest.sendall(b"still")
            assert read_exactly(server, 5) == b"still"
        finally:
            for s in held:
                s.close()
    wait_for(lambda: net.counter("flows.tcp") == 0, limit=60, step=0.1, what="no flow left")


def test_connections_that_have_ended_make_room_for_new_ones_at_once(gateway, world):
    """12,000 in a row through a published port, the client closing first: what lingers of an
    ended flow must not use up what new flows need."""
    net = gateway(publish=["127.0.0.1:0:7777"])
    server = LoadServer(net.guest.ns, port=7777)
    try:
        result = server.run(world.host, "127.0.0.1", net.port(7777), flows=12_000, at=32, up=1,
                            down=1)
    finally:
        server.stop()
    assert result["ok"] == result["flows"], result


def test_the_operator_says_how_many_flows_there_may_be(gateway, world):
    net = gateway("--max-flows", 2)
    with world.world.listen(WORLD[4], backlog=8) as listener:
        port = listener.getsockname()[1]
        with net.guest.connect(WORLD[4], port), net.guest.connect(WORLD[4], port):
            assert connect_error(net.guest, WORLD[4], port)[0] == errno.ECONNREFUSED

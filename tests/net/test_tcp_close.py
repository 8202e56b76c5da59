"""FIN, half-close and RST cross the gateway as they are, and data before them is delivered."""
import errno
import select
import socket

import pytest

from harness.clients import (FAMILIES, WORLD, error_of_recv, fill, pair, read_exactly,
                             read_to_end, ready_for, reset, transfer)
from harness.netns import wait_for
from harness.servers import body_of

MEGABYTE = body_of(1 << 20)


@pytest.fixture(params=FAMILIES)
def ends(net, world, request):
    """A connection from the guest to the world: (guest's end, world's end)."""
    ready_for(request.param, net)
    guest, server = pair(net.guest, world.world, WORLD[request.param])
    yield guest, server
    guest.close()
    server.close()


def test_a_guest_that_closes_its_side_still_gets_the_answer(ends):
    guest, server = ends
    guest.sendall(b"request")
    guest.shutdown(socket.SHUT_WR)
    assert read_to_end(server) == b"request"
    assert transfer(server, MEGABYTE, guest) == MEGABYTE


def test_a_server_that_closes_its_side_still_gets_the_request(ends):
    guest, server = ends
    server.sendall(b"banner")
    server.shutdown(socket.SHUT_WR)
    assert read_to_end(guest) == b"banner"
    assert transfer(guest, MEGABYTE, server) == MEGABYTE


def test_a_half_closed_connection_stays_open_while_nothing_is_said(ends):
    guest, server = ends
    guest.shutdown(socket.SHUT_WR)
    assert read_to_end(server) == b""
    assert not select.select([guest], [], [], 2)[0], "the guest's side ended with the server's"
    server.sendall(b"late answer")
    assert read_exactly(guest, 11) == b"late answer"


def test_a_close_by_the_guest_reaches_the_server_as_end_of_stream(ends):
    guest, server = ends
    guest.close()
    assert read_to_end(server) == b""


def test_a_close_by_the_server_reaches_the_guest_as_end_of_stream(ends):
    guest, server = ends
    server.close()
    assert read_to_end(guest) == b""


def test_a_reset_by_the_guest_reaches_the_server_as_a_reset(ends):
    guest, server = ends
    guest.sendall(b"x")
    assert read_exactly(server, 1) == b"x"
    reset(guest)
    assert error_of_recv(server) == errno.ECONNRESET


def test_a_reset_by_the_server_reaches_the_guest_as_a_reset(ends):
    guest, server = ends
    guest.sendall(b"x")
    assert read_exactly(server, 1) == b"x"
    reset(server)
    assert error_of_recv(guest) == errno.ECONNRESET


def test_a_server_that_resets_in_mid_stream_resets_the_guest(ends):
    guest, server = ends
    fill(guest, quiet=0.2, most=1 << 22)
    guest.setblocking(True)
    guest.settimeout(5)
    reset(server)                               # with unread data: the kernel would reset anyway

    def broken():
        try:
            guest.send(b"x" * 1000)
        except (ConnectionResetError, BrokenPipeError):
            return True
        return False
    wait_for(broken, what="the guest learns of the reset")


def test_a_guest_that_resets_in_mid_stream_resets_the_server(ends):
    guest, server = ends
    fill(server, quiet=0.2, most=1 << 22)
    server.setblocking(True)
    server.settimeout(5)
    reset(guest)

    def broken():
        try:
            server.send(b"x" * 1000)
        except (ConnectionResetError, BrokenPipeError):
            return True
        return False
    wait_for(broken, what="the server learns of the reset")


def test_a_server_that_closes_with_unread_data_resets_the_guest(ends):
    """Linux answers data that nobody will read by RST; the guest must not see a clean end."""
    guest, server = ends
    guest.sendall(b"never read")
    wait_for(lambda: server.recv(10, socket.MSG_PEEK), what="the data at the server")
    server.close()
    assert error_of_recv(guest) == errno.ECONNRESET


def test_a_reset_after_the_guests_half_close_is_still_a_reset(ends):
    guest, server = ends
    guest.shutdown(socket.SHUT_WR)
    assert read_to_end(server) == b""
    reset(server)
    assert error_of_recv(guest) == errno.ECONNRESET


def test_the_tail_of_a_download_reaches_a_slow_reader_after_the_server_has_gone(ends):
    guest, server = ends
    guest.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)
    sent = fill(server, quiet=0.3, most=1 << 24)
    server.close()
    assert len(read_to_end(guest)) == sent


def test_the_tail_of_an_upload_reaches_a_slow_server_after_the_guest_has_gone(ends):
    guest, server = ends
    sent = fill(guest, quiet=0.3, most=1 << 24)
    guest.close()
    assert len(read_to_end(server)) == sent


def test_data_and_fin_in_one_go_are_both_delivered(ends):
    guest, server = ends
    guest.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
    guest.sendall(b"last words")
    guest.close()
    assert read_to_end(server) == b"last words"


def test_a_server_that_closes_first_leaves_no_flow_behind(ends, net):
    guest, server = ends
    server.close()
    assert read_to_end(guest) == b""
    guest.close()
    if hasattr(net, "ready_line"):
        wait_for(lambda: net.counter("flows.tcp") == 0, limit=10, what="no TCP flow", step=0.05)


def test_a_peer_that_vanishes_after_its_fin_does_not_pin_the_flow_for_ever(ends, net):
    """Both sides have closed, one of them by RST after its FIN."""
    guest, server = ends
    server.shutdown(socket.SHUT_WR)
    assert read_to_end(guest) == b""
    reset(guest)
    assert error_of_recv(server) in (b"", errno.ECONNRESET)
    if hasattr(net, "ready_line"):
        wait_for(lambda: net.counter("flows.tcp") == 0, limit=10, what="no TCP flow", step=0.05)


def test_urgent_data_does_not_break_the_stream(ends):
    guest, server = ends
    server.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
    guest.sendall(b"before")
    guest.send(b"!", socket.MSG_OOB)
    guest.sendall(b"after")
    guest.shutdown(socket.SHUT_WR)
    assert read_to_end(server).replace(b"!", b"") == b"beforeafter"

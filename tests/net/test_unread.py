"""Downloads over vhost-user, which stay in the host's socket until the guest has them: what holds of
others holds of them, and they cost hostd no memory."""
import socket

import pytest

# Each is played once more, over this file's attachment.
from test_tcp_close import (  # noqa: F401
    INTO_GUEST, ends, family,
    test_a_guest_that_resets_in_mid_stream_resets_the_peer,
    test_a_peer_that_closes_its_side_still_gets_the_request,
    test_a_peer_that_closes_with_unread_data_resets_the_guest,
    test_a_peer_that_resets_in_mid_stream_resets_the_guest,
    test_the_tail_of_a_download_reaches_a_slow_reader_after_the_peer_has_gone)
from test_tcp_integrity import (  # noqa: F401
    test_a_guest_paused_in_the_middle_of_downloads_loses_nothing,
    test_a_large_download_arrives_whole,
    test_a_lossless_link_sees_no_retransmission_by_the_gateway,
    test_a_paused_guest_costs_no_cpu_time,
    test_a_reader_that_never_reads_costs_no_cpu_time,
    test_a_slow_reader_gets_its_download_whole_while_others_run_at_full_speed,
    test_a_stuck_reader_stops_nobody_else,
    test_a_zero_window_that_opens_again_continues_the_stream,
    test_nothing_is_leaked_by_thousands_of_flows)

from harness.clients import FAMILIES, WORLD, fill, pair, read_exactly, ready_for
from harness.world import HOST4, HOST6

pytestmark = pytest.mark.hostd
NET = dict(attach="vhost-user",
           publish=[f"{HOST4}:0:{INTO_GUEST[4]}", f"[{HOST6}]:0:{INTO_GUEST[6]}"])
MIB = 1 << 20


@pytest.mark.timing
@pytest.mark.parametrize("family", FAMILIES)
def test_downloads_that_nobody_reads_cost_no_memory(net, world, family):
    """Once the first part of each, which was read, is taken: passt keeps nothing either, and
    microsandbox 4.2 (13) up to 1.2 MiB a connection."""
    ready_for(family, net)
    pairs = [pair(net.guest, world.world, WORLD[family]) for _ in range(64)]
    try:
        for guest, server in pairs:
            guest.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, MIB)
        before = net.rss_bytes()
        stuck = [fill(server, quiet=0.1, most=4 * MIB) for _, server in pairs]
        assert min(stuck) > MIB
        assert net.rss_bytes() - before < 8 * MIB
        for (guest, _), size in zip(pairs, stuck):
            assert len(read_exactly(guest, size)) == size
    finally:
        for ends_ in pairs:
            for s in ends_:
                s.close()


@pytest.mark.parametrize("family", FAMILIES)
def test_a_byte_sent_as_urgent_amid_a_download_breaks_nothing(net, world, family):
    """RFC 6093: it is one among the others, in a small answer as in a large one."""
    ready_for(family, net)
    guest, server = pair(net.guest, world.world, WORLD[family])
    with guest, server:
        server.send(b"!", socket.MSG_OOB)
        server.sendall(b"first")
        assert read_exactly(guest, 6) == b"!first"
        for _ in range(3):
            sent = fill(server, quiet=0.2, most=4 * MIB)
            server.setblocking(True)
            server.settimeout(30)
            read_exactly(guest, sent // 2)
            server.send(b"!", socket.MSG_OOB)
            server.sendall(b"after")
            assert read_exactly(guest, sent - sent // 2 + 6)[-6:] == b"!after"

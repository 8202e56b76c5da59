"""Through the rings of libnet.a, with a guest that takes segments whole: what holds of other attachments
holds here, where downloads stay in the host's socket until they are in the ring (Linux 6.10)."""
import pytest

# Each is played once more, over this file's attachment.
from test_tcp_integrity import (  # noqa: F401
    test_a_large_download_arrives_whole,
    test_a_large_upload_arrives_whole,
    test_a_slow_reader_gets_its_download_whole_while_others_run_at_full_speed,
    test_a_stuck_reader_stops_nobody_else,
    test_a_zero_window_that_opens_again_continues_the_stream)

pytestmark = pytest.mark.hostd
NET = dict(attach="ring")

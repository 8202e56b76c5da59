#pragma once

#include <vector>

#include "link/guest_port.h"

namespace sluice::link {

/// Appends a frame that came behind a virtio_net_hdr to `frames`: as it is, or as the datagrams
/// that it stands for, in memory of their own. `header` has 10 or 12 bytes; `frame` lies in
/// `buffer`. False, and nothing is appended, where the two don't fit each other.
bool add_virtio_frame(ConstBytes header, Bytes frame, const BufferRef& buffer,
                      std::vector<TxFrame>& frames);

}  // namespace sluice::link

#pragma once

#include <sys/uio.h>

#include "base/buffer.h"

struct pbuf;

namespace sluice::stack {

/// The guest's data as lwIP sees it: a reference into what the attachment read, without a buffer
/// into memory that is lent until the end of the batch. A copy where read memory is scarce.
/// nullptr: out of memory. At most 65535 bytes.
pbuf* make_guest_pbuf(const iovec& piece, const BufferRef& buffer);

/// Copies what is still there of lent memory, wherever in lwIP or in a queue it waits.
void keep_lent_pbufs();

}  // namespace sluice::stack

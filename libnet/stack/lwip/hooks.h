#pragma once

#include "lwip/ip_addr.h"

#ifdef __cplusplus
extern "C" {
#endif

/// The initial sequence number of a new connection (RFC 9293 section 3.4.1, RFC 6528). The adapter
/// defines it; lwIP calls it while a PCB is made, on the loop thread.
u32_t sluice_tcp_isn(const ip_addr_t* local_address, u16_t local_port,
                     const ip_addr_t* remote_address, u16_t remote_port);

#ifdef __cplusplus
}
#endif

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

// lwIP holds back the end of a connection in SYN_RCVD, of which an application knows nothing yet.
// Ours knows it from its SYN on. And it has no use for being polled, not even in that state, where
// lwIP takes it for unable to answer and would not send what waits.
#undef TCP_EVENT_ERR
#define TCP_EVENT_ERR(last_state, errf, argument, error) \
  lwip_tcp_event((argument), NULL, LWIP_EVENT_ERR, NULL, 0, (error))
#undef TCP_EVENT_POLL
#define TCP_EVENT_POLL(pcb, result) ((result) = ERR_OK)

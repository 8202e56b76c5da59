#pragma once

#include "stack/lwip_headers.h"
#include "stack/tcp_engine.h"

namespace sluice::stack {

/// What lwIP calls. Each only records in the endpoint: see TcpEngine's rules.
struct TcpEngine::Callbacks {
  static err_t output4(netif* interface, pbuf* packet, const ip4_addr_t* to);
  static err_t output6(netif* interface, pbuf* packet, const ip6_addr_t* to);
  static err_t output(netif* interface, pbuf* packet, const IpAddress& source,
                      const IpAddress& destination, std::size_t ip_header);
  static void release_frame(void* owner);

  static void happened(TcpEndpoint& endpoint, tcp_pcb* pcb, lwip_event event, pbuf* chain,
                       u16_t bytes, err_t error);
  static void received(TcpEndpoint& endpoint, tcp_pcb* pcb, pbuf* chain);
  static void gone(TcpEndpoint& endpoint, err_t error);
};

}  // namespace sluice::stack

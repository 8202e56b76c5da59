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

  static err_t accepted(void* argument, tcp_pcb* pcb, err_t error);
  static err_t connected(void* argument, tcp_pcb* pcb, err_t error);
  static err_t received(void* argument, tcp_pcb* pcb, pbuf* chain, err_t error);
  static err_t sent(void* argument, tcp_pcb* pcb, u16_t bytes);
  static void gone(void* argument, err_t error);
};

}  // namespace sluice::stack

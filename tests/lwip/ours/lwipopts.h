#pragma once

// Our options as lwIP's own tests can stand them; README.md says why each line is here.

#include "../../../libnet/stack/lwip/lwipopts.h"

#undef TCP_SND_BUF
#define TCP_SND_BUF (TCP_WND + TCP_MSS)

#undef PBUF_POOL_BUFSIZE
#define PBUF_POOL_BUFSIZE 592

#undef MEM_STATS
#undef MEMP_STATS
#define MEM_STATS 1
#define MEMP_STATS 1

#define MEMP_SYS_TIMEOUT 30

#undef LWIP_EVENT_API
#undef lwip_tcp_event

#undef LWIP_HOOK_FILENAME
#undef LWIP_HOOK_TCP_ISN

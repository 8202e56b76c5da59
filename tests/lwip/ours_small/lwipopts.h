#pragma once

// Our options with an Ethernet guest's segments and a window that a plain TCP header can carry.

#include "../ours/lwipopts.h"

#undef TCP_MSS
#define TCP_MSS 1460

#undef TCP_WND
#define TCP_WND (10 * TCP_MSS)

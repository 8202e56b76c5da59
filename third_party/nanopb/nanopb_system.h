#pragma once

/* What nanopb takes from the system. Its allocator is ours, which has a limit
 * (agent/rpc/message.h). */
#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

void* sluice_pb_realloc(void* memory, size_t size);
void sluice_pb_free(void* memory);

#ifdef __cplusplus
}
#endif

#define pb_realloc(memory, size) sluice_pb_realloc(memory, size)
#define pb_free(memory) sluice_pb_free(memory)

#include <stdio.h>
#include <stdlib.h>

#include "arch/cc.h"

void sluice_lwip_assert_failed(const char* message, const char* file, int line) {
  fprintf(stderr, "sluice: lwIP assertion failed: %s (%s:%d)\n", message, file, line);
  abort();
}

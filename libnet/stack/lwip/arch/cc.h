#pragma once

// lwIP's compiler port: gcc and clang on Linux need no more than where its complaints go.

#ifdef __cplusplus
extern "C" {
#endif

/// Called when an lwIP assertion fails: writes it to standard error and aborts. lwIP's lists are
/// then in a state that nobody can reason about, so the process (one VM's network) must not go on.
__attribute__((noreturn, cold)) void sluice_lwip_assert_failed(const char* message,
                                                               const char* file, int line);

#ifdef __cplusplus
}
#endif

#define LWIP_PLATFORM_ASSERT(message) sluice_lwip_assert_failed(message, __FILE__, __LINE__)

// What libuv would call of the C library that this program never asks of libuv: names of hosts and
// of users, and shared libraries. In a static program they would bring a tenth of a megabyte along,
// and look for libraries that are not in the guest.

#include <dlfcn.h>
#include <netdb.h>
#include <pwd.h>

#include <cerrno>

extern "C" {

int getaddrinfo(const char*, const char*, const addrinfo*, addrinfo**) {
  return EAI_FAIL;
}
void freeaddrinfo(addrinfo*) {}
int getnameinfo(const sockaddr*, socklen_t, char*, socklen_t, char*, socklen_t, int) {
  return EAI_FAIL;
}
int getpwuid_r(uid_t, passwd*, char*, size_t, passwd** found) {
  *found = nullptr;
  return ENOENT;
}
void* dlopen(const char*, int) {
  return nullptr;
}
void* dlsym(void*, const char*) noexcept {
  return nullptr;
}
char* dlerror() noexcept {
  return nullptr;
}
int dlclose(void*) noexcept {
  return 0;
}

}  // extern "C"

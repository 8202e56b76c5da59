// What libraries would call of the C library that a static program of ours never asks of them:
// names of hosts and of users, and shared libraries. glibc's own would look for libraries that are
// made for another glibc, or are not there.

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
hostent* gethostbyname(const char*) {
  return nullptr;
}
int getpwuid_r(uid_t, passwd*, char*, size_t, passwd** found) {
  *found = nullptr;
  return ENOENT;
}
// For -Wl,--wrap=dlopen: glibc's own comes along for others, and with it a warning of its use.
void* no_dlopen(const char*, int) __asm__("__wrap_dlopen");
void* no_dlopen(const char*, int) {
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

#include "agent/rpc/boot_token.h"

#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstdlib>
#include <fstream>
#include <string>

namespace sluice::agent::rpc {

namespace {

const std::string kDigits = "00112233445566778899aabbccddeeff" + std::string(32, 'f');

ConstBytes bytes_of(std::string_view text) {
  return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}

/// A file with this in it, of this mode, as long as it lives.
struct TokenFile {
  TokenFile(const std::string& text, mode_t mode) {
    int fd = ::mkstemp(path.data());
    REQUIRE(fd >= 0);
    ::close(fd);
    std::ofstream(path) << text;
    ::chmod(path.c_str(), mode);
  }
  ~TokenFile() { ::unlink(path.c_str()); }
  std::string path = "/tmp/sluice-token-XXXXXX";
};

}  // namespace

TEST_CASE("a token is what its digits are, of either case") {
  auto token = BootToken::parse(kDigits);
  REQUIRE(token.is_ok());
  CHECK(token->line() == "SLUICE-TOKEN " + kDigits + "\n");
  CHECK(token->digits() == kDigits);
  std::string upper = "00112233445566778899AABBCCDDEEFF" + std::string(32, 'F');
  REQUIRE(BootToken::parse(upper).is_ok());
  CHECK(BootToken::parse(upper)->digits() == kDigits);
}

TEST_CASE("what is no token is refused without a word of it") {
  std::string with_nul = kDigits;
  with_nul[7] = '\0';
  for (const std::string& text : {std::string(), kDigits.substr(1), kDigits + "0",
                                  "g" + kDigits.substr(1), " " + kDigits.substr(1), with_nul}) {
    auto token = BootToken::parse(text);
    REQUIRE_FALSE(token.is_ok());
    CHECK(token.status().code() == StatusCode::invalid_argument);
    CHECK(token.status().message().find("8899") == std::string::npos);
  }
}

TEST_CASE("a line matches as a whole or not at all") {
  auto token = BootToken::parse(kDigits);
  std::string line = token->line();
  CHECK(token->matches(bytes_of(line)));
  for (std::size_t i = 0; i < line.size(); ++i) {
    std::string wrong = line;
    wrong[i] = static_cast<char>(wrong[i] ^ 1);
    CHECK_FALSE(token->matches(bytes_of(wrong)));
    CHECK_FALSE(token->matches(bytes_of(line.substr(0, i))));
  }
  CHECK_FALSE(token->matches(bytes_of(line + "x")));
}

TEST_CASE("a token's file is for its owner alone") {
  CHECK(BootToken::read(TokenFile(kDigits, 0600).path).is_ok());
  CHECK(BootToken::read(TokenFile(kDigits + "\n", 0400).path).is_ok());
  for (mode_t mode : {0640, 0604, 0620, 0602, 0666}) {
    auto token = BootToken::read(TokenFile(kDigits, mode).path);
    REQUIRE_FALSE(token.is_ok());
    CHECK(token.status().code() == StatusCode::permission_denied);
  }
}

TEST_CASE("a token's file is a regular one with a token and nothing else") {
  CHECK(BootToken::read("/nonexistent/token").status().code() == StatusCode::not_found);
  CHECK_FALSE(BootToken::read("/").is_ok());
  for (const std::string& text : {std::string(), kDigits + "\n\n", kDigits + " ", "x" + kDigits,
                                  kDigits.substr(1) + "\n", std::string(100000, '0')}) {
    auto token = BootToken::read(TokenFile(text, 0600).path);
    REQUIRE_FALSE(token.is_ok());
    CHECK(token.status().code() == StatusCode::invalid_argument);
  }
}

}  // namespace sluice::agent::rpc

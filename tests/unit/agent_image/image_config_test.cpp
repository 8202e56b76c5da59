#include "agent/image/image_config.h"

#include <catch2/catch.hpp>
#include <string>

using namespace sluice;
using namespace sluice::agent;

namespace {

const std::string kDigest = "sha256:" + std::string(64, 'a');

}  // namespace

TEST_CASE("names are kept in one form") {
  CHECK(normal_name("alpine") == "alpine:latest");
  CHECK(normal_name("docker.io/library/alpine:3") == "alpine:3");
  CHECK(normal_name("index.docker.io/me/app") == "me/app:latest");
  CHECK(normal_name("localhost:5000/app") == "localhost:5000/app:latest");
  CHECK(normal_name("localhost:5000/app:1") == "localhost:5000/app:1");
  for (const char* bad :
       {"", "a b", "app@sha256:1", "/app", "app/", "app:", ":1", "a\n", "docker.io/", "../x y"}) {
    CAPTURE(bad);
    CHECK(normal_name(bad).empty());
  }
  CHECK(normal_name("docker.io/docker.io/library/alpine:3") == "alpine:3");
  CHECK(normal_name("library/library/alpine") == "library/library/alpine:latest");
  CHECK(normal_name("library/index.docker.io/me") == "library/index.docker.io/me:latest");
  CHECK(normal_name("library/").empty());
  // The tag that is added counts too.
  std::string longest(kMaxNameBytes - 7, 'a');
  CHECK(normal_name(longest) == longest + ":latest");
  CHECK(normal_name(longest + "a").empty());
  CHECK(normal_name(longest + ":12345a") == longest + ":12345a");
  CHECK(normal_name(longest + ":123456a").empty());
}

TEST_CASE("an image is for a platform, whose variant matters where both say one") {
  CHECK(is_platform("linux/arm64", "linux", "arm64", "v8"));
  CHECK(is_platform("linux/arm/v7", "linux", "arm", "v7"));
  CHECK_FALSE(is_platform("linux/arm/v7", "linux", "arm", "v6"));
  CHECK_FALSE(is_platform("linux/amd64", "linux", "arm64", ""));
  CHECK_FALSE(is_platform("linux/amd64", "windows", "amd64", ""));
}

TEST_CASE("a configuration that is made is read again") {
  ImageDescription made;
  made.config = {.entrypoint = {"/bin/x", ""},
                 .cmd = {"a b", "\"quoted\"\n"},
                 .env = {"A=1", "B="},
                 .working_dir = "/w",
                 .user = "1:2",
                 .stop_signal = "SIGINT",
                 .labels = {{"k", "v"}, {"empty", ""}}};
  made.os = "linux";
  made.architecture = "amd64";
  made.diff_ids = {kDigest};
  std::string text = make_image_config(made);
  CHECK(make_image_config(made) == text);
  auto read = parse_image_config(text);
  REQUIRE(read);
  CHECK(read->config.entrypoint == made.config.entrypoint);
  CHECK(read->config.cmd == made.config.cmd);
  CHECK(read->config.env == made.config.env);
  CHECK(read->config.labels == made.config.labels);
  CHECK(read->config.user == made.config.user);
  CHECK(read->diff_ids == made.diff_ids);
}

TEST_CASE("what is missing or of another type in a configuration is empty") {
  auto read = parse_image_config(
      R"({"config": {"Env": null, "Cmd": "x", "Entrypoint": [1, "a"], "Labels": [], "User": 5}})");
  REQUIRE(read);
  CHECK(read->config.env.empty());
  CHECK(read->config.cmd.empty());
  CHECK(read->config.entrypoint == std::vector<std::string>{"a"});
  CHECK(read->config.user.empty());
  CHECK(read->diff_ids.empty());
}

TEST_CASE("a configuration that could lead anywhere is refused") {
  for (const std::string& text :
       {std::string("[]"), std::string("{"), std::string(100'000, '['), std::string(),
        std::string(R"({"rootfs": {"diff_ids": ["sha256:../../etc"]}})"),
        std::string(R"({"rootfs": {"diff_ids": ["sha512:aa"]}})")}) {
    auto read = parse_image_config(text);
    REQUIRE_FALSE(read);
    CHECK(read.status().code() == StatusCode::invalid_argument);
  }
  std::string many = R"({"rootfs": {"diff_ids": [")" + kDigest + "\"";
  for (std::size_t i = 0; i < kMaxLayers; ++i) many += ",\"" + kDigest + "\"";
  CHECK_FALSE(parse_image_config(many + "]}}"));
}

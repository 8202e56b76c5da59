#include "agent/rpc/message.h"

#include "agent/rpc/status.h"
#include "agent_rpc/rpc_world.h"
#include "sluice/agent/v1/error.pb.h"
#include "sluice/agent/v1/process.pb.h"
#include "ttrpc.pb.h"

namespace sluice::agent::rpc {

namespace {

using Request = Message<sluice_ttrpc_Request>;
using ExecRequest = Message<sluice_agent_v1_ExecRequest>;

}  // namespace

TEST_CASE("a request is read with all its fields") {
  auto request = Request::parse(bytes(request_bytes("s", "m", "payload", 5) +
                                      pb_text(5, pb_text(1, "key") + pb_text(2, "value"))));
  REQUIRE(request);
  CHECK(text((*request)->service) == "s");
  CHECK(text((*request)->method) == "m");
  CHECK(text_of(bytes_of((*request)->payload)) == "payload");
  CHECK((*request)->timeout_nano == 5);
  REQUIRE((*request)->metadata_count == 1);
  CHECK(text((*request)->metadata[0].value) == "value");
}

TEST_CASE("an empty message has empty fields") {
  auto request = Request::parse({});
  REQUIRE(request);
  CHECK(text((*request)->service).empty());
  CHECK(bytes_of((*request)->payload).empty());
}

TEST_CASE("a frame of a million empty elements is refused") {
  std::string elements;
  while (elements.size() < kMaxPayloadBytes) elements += pb_text(5, "");
  auto request = Request::parse(bytes(elements));
  REQUIRE_FALSE(request);
  CHECK(request.status().code() == StatusCode::invalid_argument);

  std::string start;
  while (start.size() < kMaxPayloadBytes) start += pb_text(2, "");
  CHECK_FALSE(ExecRequest::parse(bytes(pb_text(1, start))));
}

TEST_CASE("what a refused message took is given back to the next") {
  std::string elements;
  while (elements.size() < kMaxPayloadBytes) elements += pb_text(5, "");
  for (int i = 0; i < 3; ++i) {
    CHECK_FALSE(Request::parse(bytes(elements)));
    CHECK(Request::parse(bytes(request_bytes("s", "m", std::string(1 << 20, 'x')))));
  }
}

TEST_CASE("text that is no UTF-8 is refused, bytes are taken") {
  CHECK_FALSE(Request::parse(bytes(pb_text(1, "a\xFF"))));
  CHECK_FALSE(Request::parse(bytes(pb_text(1, "\xC0\x80"))));
  CHECK_FALSE(Request::parse(bytes(pb_text(1, "\xED\xA0\x80"))));
  CHECK(Request::parse(bytes(pb_text(1, "Zürich"))));
  CHECK(Request::parse(bytes(pb_text(3, "a\xFF"))));
}

TEST_CASE("text with a NUL in it is refused, as it would be cut there") {
  CHECK_FALSE(Request::parse(bytes(pb_text(1, std::string_view("a\0b", 3)))));
  CHECK_FALSE(ExecRequest::parse(bytes(pb_text(1, pb_text(1, std::string_view("sh\0x", 4))))));
}

TEST_CASE("text of whoever's making can be sent, with '?' for what is no UTF-8") {
  CHECK(valid_utf8("plain Zürich 漢字 😀") == "plain Zürich 漢字 😀");
  CHECK(valid_utf8("a\xFF"
                   "b") == "a?b");
  CHECK(valid_utf8("\xC3") == "?");
  CHECK(valid_utf8("\xE6\xBC") == "??");
  CHECK(valid_utf8("\xC0\x80") == "??");
  CHECK(valid_utf8("\xED\xA0\x80") == "???");
  CHECK(valid_utf8(std::string_view("a\0b", 3)) == "a?b");
  CHECK(valid_utf8("\x80\xF8\xC3\xBC") == "??ü");
}

TEST_CASE("a message cut off at any byte is refused or shorter, never read beyond") {
  std::string whole = request_bytes("service", "method", "payload", 1'000'000);
  for (std::size_t size = 0; size < whole.size(); ++size) {
    // A block of just that size, for AddressSanitizer.
    std::vector<std::uint8_t> exact(whole.begin(),
                                    whole.begin() + static_cast<std::ptrdiff_t>(size));
    auto request = Request::parse(exact);
    if (request) CHECK(text((*request)->service).size() <= 7);
  }
}

TEST_CASE("of two messages of a oneof the last is read") {
  auto request = ExecRequest::parse(
      bytes(pb_text(1, pb_text(1, "program")) + pb_text(2, "input") + pb_number(5, 7)));
  REQUIRE(request);
  CHECK((*request)->which_message == sluice_agent_v1_ExecRequest_grant_tag);
  CHECK((*request)->message.grant == 7);
}

TEST_CASE("fields of a later version are passed over") {
  auto request = Request::parse(
      bytes(pb_number(100, 5) + request_bytes("s", "m", "") + pb_text(2000, "later")));
  REQUIRE(request);
  CHECK(text((*request)->method) == "m");
}

TEST_CASE("a message moved from holds nothing") {
  auto request = Request::parse(bytes(request_bytes("s", "m", "p")));
  REQUIRE(request);
  Request moved = std::move(*request);
  CHECK(text(moved->service) == "s");
  CHECK((*request)->service == nullptr);  // NOLINT(bugprone-use-after-move)
}

TEST_CASE("bulk bytes written in place are the same message") {
  BytesMessage message(2, 70'000);
  for (std::size_t size : {0, 1, 127, 128, 16'383, 16'384, 70'000}) {
    std::fill_n(message.space().begin(), size, std::uint8_t{0xFF});
    auto parsed = Message<sluice_agent_v1_ExecResponse>::parse(message.of(size));
    REQUIRE(parsed);
    CHECK((*parsed)->which_message == sluice_agent_v1_ExecResponse_stdout_tag);
    CHECK(text_of(bytes_of((*parsed)->message.stdout)) == std::string(size, '\xFF'));
  }
}

TEST_CASE("what the kernel refused has its errno and its step in the status") {
  auto encoded = response_of(CallError::from_errno(EACCES, "execve /bin/x"));
  Answer answer = answer_of({1, kResponse, 0, text_of(encoded)});
  CHECK(answer.code == 7);
  CHECK(answer.message == "execve /bin/x: Permission denied");
  CHECK(answer.detail_type == "type.googleapis.com/sluice.agent.v1.ErrorDetail");
  CHECK(answer.detail == pb_number(1, EACCES) + pb_text(2, "EACCES") + pb_text(3, "execve /bin/x"));
}

TEST_CASE("an error of ours has a status without details") {
  auto encoded = response_of(CallError{.code = Code::not_found, .message = "no"});
  Answer answer = answer_of({1, kResponse, 0, text_of(encoded)});
  CHECK(answer.code == 5);
  CHECK(answer.message == "no");
  CHECK(answer.detail_type.empty());
}

TEST_CASE("each errno that a client can act on has its own code") {
  auto code_of = [](int error) { return CallError::from_errno(error, "x").code; };
  CHECK(code_of(ENOENT) == Code::not_found);
  CHECK(code_of(EPERM) == Code::permission_denied);
  CHECK(code_of(EEXIST) == Code::already_exists);
  CHECK(code_of(E2BIG) == Code::invalid_argument);
  CHECK(code_of(ENOEXEC) == Code::failed_precondition);
  CHECK(code_of(EMFILE) == Code::resource_exhausted);
  CHECK(code_of(EIO) == Code::internal);
}

}  // namespace sluice::agent::rpc

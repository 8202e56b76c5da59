#include "hostd/ctl/client.h"

#include <curl/curl.h>
#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <vector>

#include "base/posix_unix.h"
#include "hostd/directories.h"

namespace sluice::ctl {

namespace {

using nlohmann::json;
using Handle = std::unique_ptr<CURL, decltype(&curl_easy_cleanup)>;
using Headers = std::unique_ptr<curl_slist, decltype(&curl_slist_free_all)>;

constexpr long kTimeoutSeconds = 30;

std::size_t append(char* data, std::size_t size, std::size_t count, void* out) {
  static_cast<std::string*>(out)->append(data, size * count);
  return size * count;
}

Handle open(const std::string& socket_path, const std::string& path) {
  Handle handle(curl_easy_init(), curl_easy_cleanup);
  if (!handle) return handle;
  curl_easy_setopt(handle.get(), CURLOPT_UNIX_SOCKET_PATH, socket_path.c_str());
  curl_easy_setopt(handle.get(), CURLOPT_URL, ("http://hostd" + path).c_str());
  curl_easy_setopt(handle.get(), CURLOPT_NOSIGNAL, 1L);
  // The socket is local: a proxy of the environment has no part in it.
  curl_easy_setopt(handle.get(), CURLOPT_PROXY, "");
  return handle;
}

Status unreachable(const std::string& socket_path, CURLcode code) {
  if (code == CURLE_COULDNT_CONNECT) {
    return Status(
        StatusCode::closed,
        fmt::format("no hostd answers on {}: is it running, and may you use it?", socket_path));
  }
  return Status(StatusCode::closed, fmt::format("{}: {}", socket_path, curl_easy_strerror(code)));
}

/// Takes a stream apart into events: lines "event: X" and "data: Y", ended by an empty line.
class EventReader {
 public:
  using OnEvent = std::function<bool(std::string_view, std::string_view)>;
  explicit EventReader(const OnEvent& on_event) : on_event_(on_event) {}

  bool feed(std::string_view bytes) {
    buffer_ += bytes;
    std::size_t end;
    while ((end = buffer_.find('\n')) != std::string::npos) {
      std::string line = buffer_.substr(0, end);
      buffer_.erase(0, end + 1);
      if (!take(line)) return false;
    }
    return true;
  }

 private:
  bool take(std::string_view line) {
    if (line.starts_with("event: ")) name_ = line.substr(7);
    if (line.starts_with("data: ")) data_ = line.substr(6);
    if (!line.empty() || data_.empty()) return true;
    bool goes_on = on_event_(name_, data_);
    name_.clear();
    data_.clear();
    return goes_on;
  }

  const OnEvent& on_event_;
  std::string buffer_, name_, data_;
};

long status_of(const Handle& handle) {
  long status = 0;
  curl_easy_getinfo(handle.get(), CURLINFO_RESPONSE_CODE, &status);
  return status;
}

/// What a body says that is no answer.
Status problem_of(long status, const std::string& body) {
  json parsed = json::parse(body, nullptr, false);
  std::string why = parsed.is_object() ? parsed.value("detail", body) : body;
  return Status(status == 400 ? StatusCode::invalid_argument : StatusCode::internal, why);
}

}  // namespace

Result<json> Client::request(const std::string& method, const std::string& path,
                             const std::string* body) {
  Handle handle = open(socket_path_, path);
  if (!handle) return Status(StatusCode::internal, "libcurl did not start");
  std::string answer;
  Headers headers(curl_slist_append(nullptr, "Content-Type: application/json"),
                  curl_slist_free_all);
  curl_easy_setopt(handle.get(), CURLOPT_CUSTOMREQUEST, method.c_str());
  curl_easy_setopt(handle.get(), CURLOPT_TIMEOUT, kTimeoutSeconds);
  curl_easy_setopt(handle.get(), CURLOPT_WRITEFUNCTION, append);
  curl_easy_setopt(handle.get(), CURLOPT_WRITEDATA, &answer);
  if (body) {
    curl_easy_setopt(handle.get(), CURLOPT_HTTPHEADER, headers.get());
    curl_easy_setopt(handle.get(), CURLOPT_POSTFIELDS, body->data());
    curl_easy_setopt(handle.get(), CURLOPT_POSTFIELDSIZE, static_cast<long>(body->size()));
  }
  if (CURLcode code = curl_easy_perform(handle.get()); code != CURLE_OK) {
    return unreachable(socket_path_, code);
  }
  long status = status_of(handle);
  json parsed = json::parse(answer, nullptr, false);
  if (status >= 200 && status < 300 && !parsed.is_discarded()) return parsed;
  return problem_of(status, answer);
}

Result<json> Client::get(const std::string& path) {
  return request("GET", path, nullptr);
}

Result<json> Client::put(const std::string& path, const json& body) {
  std::string text = body.dump();
  return request("PUT", path, &text);
}

Result<json> Client::remove(const std::string& path) {
  return request("DELETE", path, nullptr);
}

Status Client::follow(const std::string& path,
                      const std::function<bool(std::string_view, std::string_view)>& on_event) {
  Handle handle = open(socket_path_, path);
  if (!handle) return Status(StatusCode::internal, "libcurl did not start");
  EventReader reader(on_event);
  bool ended_by_us = false;
  std::string refusal;
  auto write = [&](std::string_view bytes) {
    if (status_of(handle) >= 300) {
      refusal += bytes;
      return true;
    }
    ended_by_us = !reader.feed(bytes);
    return !ended_by_us;
  };
  using Write = decltype(write);
  curl_easy_setopt(
      handle.get(), CURLOPT_WRITEFUNCTION,
      +[](char* data, std::size_t size, std::size_t count, void* out) -> std::size_t {
        bool goes_on = (*static_cast<Write*>(out))({data, size * count});
        return goes_on ? size * count : 0;
      });
  curl_easy_setopt(handle.get(), CURLOPT_WRITEDATA, &write);
  CURLcode code = curl_easy_perform(handle.get());
  if (code == CURLE_OK && status_of(handle) >= 300) return problem_of(status_of(handle), refusal);
  if (ended_by_us || code == CURLE_OK) return Status::ok();
  return unreachable(socket_path_, code);
}

std::string encoded(std::string_view text) {
  std::string out;
  for (char c : text) {
    bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                 c == '-' || c == '.' || c == '_' || c == '~';
    out += plain ? std::string(1, c) : fmt::format("%{:02X}", static_cast<unsigned char>(c));
  }
  return out;
}

Result<std::string> find_socket(const std::string& name) {
  std::string directory = hostd::runtime_directory();
  if (!name.empty()) {
    if (name.find('/') != std::string::npos) return name;
    if (!directory.empty()) return hostd::api_socket_path(name);
  }
  if (directory.empty()) {
    return Status(StatusCode::not_found,
                  "XDG_RUNTIME_DIR is not set; name the control socket with -n PATH");
  }
  std::vector<std::string> names;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(directory, error)) {
    const auto& path = entry.path();
    bool is_control = path.extension() == ".sock" && !path.stem().has_extension();
    if (is_control && !is_left_behind(path)) names.push_back(path.stem());
  }
  std::sort(names.begin(), names.end());
  if (names.size() == 1) return hostd::api_socket_path(names.front());
  if (names.empty()) {
    return Status(
        StatusCode::not_found,
        fmt::format("no hostd is running (in {} no control socket is answered)", directory));
  }
  return Status(StatusCode::invalid_argument,
                fmt::format("several are running; choose one with -n: {}", fmt::join(names, ", ")));
}

}  // namespace sluice::ctl

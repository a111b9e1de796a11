// The twist: spdlog brings the bounded queue and its thread, and nothing else. Lines are built by the caller (its own clock, core number, no format
// strings from outside), and written by a sink of ours, one write(2) a line, so that a file can be opened again after a rotation.
// Invariant: a line is one valid JSON object, whatever bytes its fields hold.
#include "ringline/base/log.hpp"

#include <fcntl.h>
#include <spdlog/async.h>
#include <spdlog/async_logger.h>
#include <spdlog/sinks/base_sink.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <memory>
#include <mutex>

#include "ringline/base/assert.hpp"
#include "ringline/base/clock.hpp"
#include "ringline/base/json.hpp"
#include "ringline/base/signals.hpp"
#include "ringline/base/utf8.hpp"

namespace ringline::base::log {
namespace {

constexpr std::size_t kQueuedLines = 8192;
constexpr std::size_t kFieldBytesMax = 2048;  // longer texts are cut: one line never grows with what a client sent
constexpr std::chrono::seconds kLostEvery{1};

void write_whole(int fd, std::string_view bytes) noexcept {
  while (!bytes.empty()) {
    const ssize_t done = ::write(fd, bytes.data(), bytes.size());
    if (done < 0 && errno == EINTR) continue;
    if (done <= 0) return;  // a log that cannot be written must not stop the server
    bytes.remove_prefix(static_cast<std::size_t>(done));
  }
}

std::string_view name_of(LogLevel level) noexcept {
  switch (level) {
    case LogLevel::debug:
      return "debug";
    case LogLevel::info:
      return "info";
    case LogLevel::warn:
      return "warn";
    case LogLevel::error:
      return "error";
  }
  return "error";
}

thread_local int this_core = -1;

// Bytes that are not UTF-8 become '?', one for one.
void put_text(json::Writer& out, std::string_view text) {
  const bool cut = text.size() > kFieldBytesMax;
  if (cut) {
    text = text.substr(0, kFieldBytesMax);
    while (!text.empty() && (text.back() & 0xc0) == 0x80) text.remove_suffix(1);
    if (!text.empty() && (text.back() & 0x80) != 0) text.remove_suffix(1);
  }
  if (!cut && valid_utf8(text)) {
    out.string(text);
    return;
  }
  std::string clean(text);
  if (!valid_utf8(clean))
    for (char& c : clean)
      if ((c & 0x80) != 0) c = '?';
  if (cut) clean += "...";
  out.string(clean);
}

void put_field(json::Writer& out, const Field& field) {
  out.key(field.name);
  if (const auto* text = std::get_if<std::string_view>(&field.value)) return put_text(out, *text);
  if (const auto* number = std::get_if<std::int64_t>(&field.value)) return void(out.integer(*number));
  if (const auto* number = std::get_if<std::uint64_t>(&field.value)) return void(out.unsigned_integer(*number));
  if (const auto* flag = std::get_if<bool>(&field.value)) return void(out.boolean(*flag));
  const double number = std::get<double>(field.value);
  std::isfinite(number) ? out.number(number) : out.null();
}

// Valid until this thread's next line.
std::string_view line_of(LogLevel level, std::string_view event, Fields fields) {
  thread_local json::Writer out;
  out.clear();
  out.begin_object()
      .key("time")
      .string(rfc3339(wall_ms()))
      .key("level")
      .string(name_of(level))
      .key("event")
      .string(event);
  if (this_core >= 0) out.key("core").integer(this_core);
  for (const Field& field : fields) put_field(out, field);
  out.end_object();
  return out.view();
}

void write_now(int fd, std::string_view line) {
  std::string bytes(line);
  bytes.push_back('\n');
  write_whole(fd, bytes);
}

// Runs on the log's own thread.
class LineSink final : public spdlog::sinks::base_sink<std::mutex> {
 public:
  LineSink(int fd, std::string path) : fd_(fd), path_(std::move(path)) {}
  ~LineSink() override {
    if (!path_.empty()) ::close(fd_);
  }
  // `pool` runs this sink until it is gone. (Shared, its last owner could be its own thread, which cannot join itself.)
  void watch(spdlog::details::thread_pool& pool) { pool_ = &pool; }
  void say_last_lost() {
    const std::scoped_lock lock(mutex_);
    say_lost(spdlog::log_clock::now());
  }

  void reopen() {
    const std::scoped_lock lock(mutex_);
    if (path_.empty()) return;
    const int fresh = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
    if (fresh < 0) {
      const int why = errno;
      write_now(fd_, line_of(LogLevel::error, "log_reopen_failed", {{"file", path_}, {"why", std::strerror(why)}}));
      return;  // the old file goes on being written
    }
    ::close(std::exchange(fd_, fresh));
  }

 private:
  void sink_it_(const spdlog::details::log_msg& message) override {
    write_now(fd_, {message.payload.data(), message.payload.size()});
    if (message.time - said_lost_ >= kLostEvery) say_lost(message.time);
  }
  void flush_() override {}

  // On the time that the line carries: this is the log's own thread, and the clock belongs to the cores (in a simulation to one thread alone).
  void say_lost(spdlog::log_clock::time_point now) {
    said_lost_ = now;
    const std::size_t lost = pool_->overrun_counter();
    if (lost == told_lines_) return;
    write_now(fd_, line_of(LogLevel::warn, "log_lines_lost", {{"lines", lost - told_lines_}}));
    told_lines_ = lost;
  }

  int fd_;
  std::string path_;  // empty: standard error, never reopened or closed
  spdlog::details::thread_pool* pool_ = nullptr;
  spdlog::log_clock::time_point said_lost_;
  std::size_t told_lines_ = 0;
};

// The one global of the project: a log must be within reach where nothing else is. Written by `start` and `stop` only.
struct State {
  std::shared_ptr<spdlog::details::thread_pool> pool;
  std::shared_ptr<LineSink> sink;
  std::shared_ptr<spdlog::async_logger> logger;
};
State state;
std::atomic<LogLevel> level_shown{LogLevel::info};

}  // namespace

Result<void> start(const Settings& settings) {
  ASSERT(!state.logger);
  int fd = STDERR_FILENO;
  if (!settings.log_file.empty()) {
    fd = ::open(settings.log_file.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
    if (fd < 0) {
      const int why = errno;
      return fail_sys(why, "LOG_FILE: cannot write " + settings.log_file + ": " + std::strerror(why));
    }
  }
  state.pool = std::make_shared<spdlog::details::thread_pool>(kQueuedLines, 1, &block_operators_signals);
  state.sink = std::make_shared<LineSink>(fd, settings.log_file);
  state.sink->watch(*state.pool);
  state.logger = std::make_shared<spdlog::async_logger>("ringline", state.sink, state.pool,
                                                        spdlog::async_overflow_policy::overrun_oldest);
  level_shown.store(settings.log_level, std::memory_order_relaxed);
  return {};
}

void stop() {
  if (!state.logger) return;
  state.sink->say_last_lost();
  state.pool.reset();  // its thread writes what is queued, which holds the logger too, and ends
  state.logger.reset();
  state.sink.reset();
}

void reopen() {
  if (state.sink) state.sink->reopen();
}

bool enabled(LogLevel level) noexcept { return level >= level_shown.load(std::memory_order_relaxed); }

void write(LogLevel level, std::string_view event, Fields fields) {
  if (!enabled(level)) return;
  const std::string_view line = line_of(level, event, fields);
  if (!state.logger) return write_now(STDERR_FILENO, line);
  state.logger->log(spdlog::level::info, spdlog::string_view_t(line.data(), line.size()));
}

void set_core(unsigned core) noexcept { this_core = static_cast<int>(core); }

}  // namespace ringline::base::log

// What the journal's tests share: a directory that goes away, one core with a real ring and real files, and recovery in one call.
#pragma once

#include <gtest/gtest.h>
#include <stdlib.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "ringline/backend/journal.hpp"
#include "ringline/backend/journal_recovery.hpp"
#include "ringline/base/clock.hpp"
#include "ringline/loop/thread.hpp"

namespace ringline::backend::test {

namespace fs = std::filesystem;
using namespace std::chrono_literals;

// In the working directory, on a disk, or in memory where only the bytes matter.
class TemporaryDirectory {
 public:
  explicit TemporaryDirectory(bool in_memory = false) {
    std::string pattern =
        (in_memory && fs::exists("/dev/shm") ? fs::path("/dev/shm") : fs::current_path()) / "journal-test-XXXXXX";
    EXPECT_NE(::mkdtemp(pattern.data()), nullptr);
    path_ = pattern;
  }
  ~TemporaryDirectory() { fs::remove_all(path_); }
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  const std::string& path() const noexcept { return path_; }

 private:
  std::string path_;
};

inline chat::Event make_event(std::uint64_t room, std::uint64_t seq, std::string_view body = R"({"text":"hello"})") {
  return {.room = {room},
          .seq = seq,
          .epoch = 1,
          .id = {room * 1'000'000 + seq},
          .at_ms = 1'767'225'600'000 + static_cast<std::int64_t>(seq),
          .actor = {77},
          .kind = chat::EventKind::message_created,
          .body = base::Blob::copy_of(body)};
}

inline bool same(const chat::Event& a, const chat::Event& b) {
  return a.room == b.room && a.seq == b.seq && a.epoch == b.epoch && a.id == b.id && a.at_ms == b.at_ms &&
         a.actor == b.actor && a.kind == b.kind && a.body.view() == b.body.view();
}

struct Recovered {
  std::vector<chat::Event> events;
  JournalReport report;
  std::vector<std::uint64_t> seqs(std::uint64_t room) const {
    std::vector<std::uint64_t> all;
    for (const chat::Event& event : events)
      if (event.room.value == room) all.push_back(event.seq);
    return all;
  }
};

inline Recovered read_all(Recovery& recovery) {
  Recovered all;
  for (;;) {
    auto events = recovery.next();
    EXPECT_TRUE(events.has_value());
    if (!events || events->empty()) break;
    std::ranges::move(*events, std::back_inserter(all.events));
  }
  all.report = recovery.report();
  return all;
}

inline Recovered recover(const std::string& data_dir) {
  auto recovery = recover_journals(data_dir);
  EXPECT_TRUE(recovery.has_value()) << (recovery ? "" : recovery.error().message);
  return recovery ? read_all(**recovery) : Recovered{};
}

// Small segments, so that tests see several.
inline JournalOptions small(const std::string& data_dir, unsigned core = 0) {
  return {.data_dir = data_dir, .core = core, .segment_bytes = 64 * 1024, .batch_bytes = 16 * 1024};
}

// One core with a journal. What it was told is there to look at.
struct Core final : chat::RoomLogListener {
  // `own_descriptors`: as in the server, the thread's are not the workers'.
  explicit Core(JournalOptions options, bool own_descriptors = false) {
    auto ring = loop::Ring::open({.entries = 64, .receive_buffers = 0, .receive_buffer_bytes = 0});
    EXPECT_TRUE(ring.has_value()) << (ring ? "" : ring.error().message);
    loop = std::make_unique<loop::Loop>(0, mailboxes, std::move(*ring));
    workers = std::make_unique<loop::Workers>(1, "journal-test", 64);
    if (own_descriptors) {
      const auto kept = loop->ring().descriptors();
      EXPECT_TRUE(loop::unshare_descriptors({kept.begin(), kept.end()}).has_value());
    }
    auto opened = Journal::open(std::move(options), *loop, *workers, *this);
    EXPECT_TRUE(opened.has_value()) << (opened ? "" : opened.error().message);
    journal = std::move(*opened);
    loop->add_hook(*journal);
  }
  ~Core() {
    if (!closed) close();
    workers.reset();
  }
  Core(const Core&) = delete;
  Core& operator=(const Core&) = delete;

  void on_committed(std::uint64_t last) override { committed = last; }
  void on_failed(std::uint64_t first, std::uint64_t last) override {
    failed.emplace_back(first, last);
    refused_in_failure = journal->append(make_event(1, 1)) == 0;
  }

  template <class Done>
  bool turn_until(Done done, std::chrono::milliseconds time = 20s) {
    const std::int64_t end = base::monotonic_ms() + time.count();
    while (!done()) {
      if (base::monotonic_ms() > end) return false;
      loop->turn(false);
    }
    return true;
  }
  // Appends, and waits for the commit.
  bool commit(const std::vector<chat::Event>& events) {
    std::uint64_t last = 0;
    for (const chat::Event& event : events) {
      last = journal->append(event);
      if (last == 0) return false;
    }
    return turn_until([&] { return committed >= last || (!failed.empty() && failed.back().second >= last); }) &&
           committed >= last;
  }
  void close() {
    closed = true;
    bool done = false;
    const auto closer = [](Journal& journal, bool& ended) -> base::Task<void> {
      co_await journal.close();
      ended = true;
    };
    loop->scope().spawn(closer(*journal, done));
    EXPECT_TRUE(turn_until([&] { return done; }));
    loop->turn(false);  // what was given to the ring without a completion of its own
  }

  loop::Mailboxes mailboxes{1};
  std::unique_ptr<loop::Loop> loop;
  std::unique_ptr<loop::Workers> workers;
  std::unique_ptr<Journal> journal;
  std::uint64_t committed = 0;
  std::vector<std::pair<std::uint64_t, std::uint64_t>> failed;
  bool refused_in_failure = false;
  bool closed = false;
};

inline std::string segment_path(const std::string& data_dir, std::uint64_t segment = 1, unsigned core = 0) {
  return journal::core_directory(data_dir, core) + "/" + journal::segment_name(segment);
}

inline std::string read_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

inline void write_file(const std::string& path, std::string_view bytes) {
  std::ofstream out(path, std::ios::binary | std::ios::trunc);
  out.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

}  // namespace ringline::backend::test

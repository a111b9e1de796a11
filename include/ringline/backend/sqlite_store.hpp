// SqliteStore: the Store port on one SQLite file. One object a process; each core has a client of it.
//
// One thread writes: what waits for it is taken together into one transaction, a savepoint each, and synced once, so a thousand sign-ins at once cost a few
// syncs and not a thousand. A few threads read, each on a connection of its own (WAL: readers and the writer do not wait for each other).
//
// Lifetimes: a call's answer is posted to its client's loop, where a waiter takes it that has not given up meanwhile (SqliteOptions::timeout; the job
// itself runs to its end). A client may be destroyed while jobs of it run, and must be before its loop is; then answers are dropped.
//
// Ephemeral rooms: their messages are counted and their seqs taken, but no content is stored: `history` has none, `events_after` answers not_found where one
// would be. Of a send with a clientId the bare key (sender, clientId, id, seq, time) is kept for 25 h, so that nothing is taken twice; what
// find_by_client_id gives back for it has no text.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "ringline/base/limits.hpp"
#include "ringline/base/result.hpp"
#include "ringline/chat/store.hpp"
#include "ringline/loop/loop.hpp"

namespace ringline::backend {

// The public room that the first migration makes.
inline constexpr base::RoomId kLobby{1};

struct SqliteOptions {
  unsigned readers = 2;
  std::chrono::milliseconds timeout = base::limits::kStoreTimeout;
};

class SqliteStore {
 public:
  // Makes the file if it is missing, brings its schema up to date. Refused with a message for people: a file of something else, of a newer Ringline,
  // damaged, or in a place that cannot be written.
  static base::Result<std::unique_ptr<SqliteStore>> open(std::string path, SqliteOptions options = {});
  ~SqliteStore();  // finishes what is queued

  std::unique_ptr<chat::Store> client(loop::Loop& loop);
  // False after a write that the disk did not take, until one is taken again.
  bool healthy() const noexcept;
  // From any thread: what SQLite has cached goes. It is in the system's cache as well.
  void rest();

  // For start-up: these block.
  base::Result<std::uint64_t> highest_id();  // of all that was ever stored here, also when it is deleted since
  base::Result<void> bump_epochs();          // of every room: relaxed mode, after an unclean stop
  // Of journals: events that are missing before one that is there are lost; the room gets a new epoch.
  base::Result<void> ingest(std::vector<chat::Event> events);

  struct Parts;

 private:
  explicit SqliteStore(std::unique_ptr<Parts> parts);
  std::unique_ptr<Parts> parts_;
};

}  // namespace ringline::backend

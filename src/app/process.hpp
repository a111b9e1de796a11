// What the cores of one process share: read-only after start, or made to be shared (mailboxes, workers, the store's threads, a few flags).
//
// Descriptors are not: each core's thread has a table of its own, so that the limit (RLIMIT_NOFILE) counts by core. In all tables, under the same numbers,
// are the rings, their doorbells (those of the store and of transfers too) and the sockets of hand-over; everything else of a core is opened on its own
// thread, and what workers, store, transfers and log open stays in theirs.
#pragma once

#include <atomic>
#include <barrier>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "app/journal_keeper.hpp"
#include "ringline/backend/database.hpp"
#include "ringline/backend/journal.hpp"
#include "ringline/backend/redis.hpp"
#include "ringline/base/settings.hpp"
#include "ringline/chat/blobs.hpp"
#include "ringline/chat/tokens.hpp"
#include "ringline/loop/loop.hpp"
#include "ringline/loop/mailbox.hpp"
#include "ringline/loop/workers.hpp"
#include "ringline/net/hand_over.hpp"

namespace ringline::app {

class Core;
class Offload;

struct Process {
  Process(const base::Settings& from, unsigned core_count, std::vector<std::string> secrets, loop::Workers& pool,
          backend::Database& database, JournalKeeper& journal_keeper)
      : settings(from),
        cores(core_count),
        signed_links(secrets, from.file_link_age),
        tokens(std::move(secrets)),
        workers(pool),
        store(database),
        keeper(journal_keeper),
        mailboxes(core_count),
        loops(core_count),
        core_objects(core_count),
        state(core_count),
        together(core_count) {}

  const base::Settings& settings;
  const unsigned cores;
  const chat::SignedLinks signed_links;
  std::unique_ptr<chat::FileLinks> s3_links;  // null: files are in DATA_DIR
  const chat::Tokens tokens;
  loop::Workers& workers;
  backend::Database& store;
  JournalKeeper& keeper;                            // core 0's
  Offload* offload = nullptr;                       // set before the cores run, there as long as they do
  unsigned connections_max = 0;                     // of a core
  unsigned host = 0;                                // its number among several
  std::optional<backend::RedisOptions> redis;       // none: this host stands alone
  std::vector<std::vector<chat::Event>> recovered;  // by core, which takes them: see Booted::events
  std::uint64_t highest_id = 0;                     // of all found on disk
  std::vector<backend::JournalStart> journals;      // by core
  std::uint16_t port = 0;                           // set before the cores start listening
  std::int64_t started_ns = 0;
  std::unique_ptr<net::HandOverPorts> hand_over;
  std::vector<std::unique_ptr<loop::Ring>> rings;  // by core, until its thread takes its own
  std::size_t tail_bytes = 0;                      // of a core: see limits::kTailMemoryShare
  std::vector<loop::Fd> shared;                    // descriptors that every core's table has: of rings and hand_over
  loop::Mailboxes mailboxes;
  std::vector<loop::Loop*> loops;  // by core; set before any runs, valid until all are joined
  std::vector<Core*> core_objects;

  struct alignas(64) CoreState {
    std::atomic<bool> listening{false};
    std::atomic<bool> journal_well{true};
    std::atomic<bool> bus_there{true};
    std::atomic<bool> begun{false};         // the bus was waited for, the journals of the run before are taken in
    std::atomic<bool> quiet{false};         // drained: nothing more to do
    std::atomic<std::int64_t> heard_ns{0};  // last time it answered the watchdog
  };
  std::vector<CoreState> state;
  std::atomic<bool> draining{false};
  std::atomic<bool> failed{false};  // a core could not start; `failure` says why
  std::string failure;
  const chat::FileLinks& links() const noexcept {
    return s3_links ? *s3_links : static_cast<const chat::FileLinks&>(signed_links);
  }
  std::barrier<> together;  // the cores meet: all loops made, all ready, all done
};

}  // namespace ringline::app

// Metrics: each core counts in its own plain struct; a scrape asks every core for a copy and adds them up. No atomics, no locks.
// One row of the table below is one metric: its field, its Prometheus name (prefixed ringline_), its help. The names are a golden file in tests/.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>

namespace ringline::base {

// field, name, help
#define RINGLINE_COUNTERS(X)                                                                         \
  X(connections_accepted, "connections_accepted_total", "Sockets accepted.")                         \
  X(connections_refused, "connections_refused_total", "Sockets closed at accept: over a limit.")     \
  X(connections_handed_over, "connections_handed_over_total", "Sockets handed to another core.")     \
  X(http_requests, "http_requests_total", "HTTP requests answered.")                                 \
  X(http_errors, "http_errors_total", "HTTP requests answered with 4xx or 5xx.")                     \
  X(commands, "commands_total", "Commands taken.")                                                   \
  X(commands_failed, "commands_failed_total", "Commands answered with an error.")                    \
  X(rate_limited, "rate_limited_total", "Commands refused by a rate limit.")                         \
  X(messages, "messages_total", "Messages committed.")                                               \
  X(events, "room_events_total", "Room events committed.")                                           \
  X(deliveries, "deliveries_total", "Room events queued for a connection.")                          \
  X(duplicates, "duplicate_sends_total", "Sends answered with the first message.")                   \
  X(sends, "socket_sends_total", "Sends given to the kernel.")                                       \
  X(sent_bytes, "socket_sent_bytes_total", "Bytes the kernel took.")                                 \
  X(received_bytes, "socket_received_bytes_total", "Bytes received.")                                \
  X(receive_buffers_empty, "receive_buffers_empty_total", "Receives re-armed: no buffer was left.")  \
  X(slow_readers, "slow_readers_total", "Connections fed from the log after their queue was full.")  \
  X(closed_slow, "closed_slow_total", "Connections closed: took nothing for 30 s.")                  \
  X(closed_protocol, "closed_protocol_total", "Connections closed for breaking a protocol.")         \
  X(closed_timeout, "closed_timeout_total", "Connections closed by a time-out.")                     \
  X(passing_dropped, "passing_events_dropped_total", "Passing events not queued for a slow reader.") \
  X(journal_commits, "journal_commits_total", "Group commits synced.")                               \
  X(journal_bytes, "journal_bytes_total", "Bytes committed to the journal.")                         \
  X(journal_failures, "journal_failures_total", "Group commits that failed.")                        \
  X(store_events, "store_events_total", "Events taken into the store.")                              \
  X(store_failures, "store_failures_total", "Store batches that failed and are tried again.")        \
  X(store_cache_hits, "store_cache_hits_total", "Answers from Redis while the database was away.")   \
  X(store_cache_misses, "store_cache_misses_total", "Answers that were not there then.")             \
  X(guests_removed, "guests_removed_total", "Guests removed: not seen for GUEST_TTL, nothing kept.") \
  X(file_uploads, "file_uploads_total", "Uploads through this server that ended well.")              \
  X(file_upload_bytes, "file_upload_bytes_total", "Bytes of files taken from clients.")              \
  X(file_downloads, "file_downloads_total", "Downloads through this server that ended well.")        \
  X(file_download_bytes, "file_download_bytes_total", "Bytes of files sent to clients.")             \
  X(transfers_failed, "transfers_failed_total", "Uploads and downloads that ended with an error.")   \
  X(files_expired, "files_expired_total", "Files removed because their time was over.")              \
  X(s3_requests, "s3_requests_total", "Requests to S3.")                                             \
  X(s3_failures, "s3_failures_total", "Requests to S3 that failed.")                                 \
  X(redis_calls, "redis_calls_total", "Commands to Redis.")                                          \
  X(redis_failures, "redis_failures_total", "Commands to Redis that were refused or not answered.")  \
  X(redis_connects, "redis_connects_total", "Connections to Redis that became usable.")              \
  X(redis_messages, "redis_messages_total", "Messages of channels that Redis has delivered here.")   \
  X(mails, "mails_total", "Messages between cores.")                                                 \
  X(turns, "loop_turns_total", "Turns of the loop.")                                                 \
  X(allocations, "allocations_total", "Memory allocations of the cores' threads.")

#define RINGLINE_GAUGES(X)                                                              \
  X(connections, "connections", "Open sockets.")                                        \
  X(sessions, "sessions", "Signed-in connections.")                                     \
  X(users, "users_online", "Users with a connection.")                                  \
  X(rooms, "rooms_loaded", "Rooms in memory.")                                          \
  X(tail_events, "tail_events", "Events held in memory.")                               \
  X(tail_bytes, "tail_bytes", "Bytes of events held in memory.")                        \
  X(store_lag_events, "store_lag_events", "Committed events not yet in the store.")     \
  X(text_lag_messages, "text_lag_messages", "Stored messages not yet found by search.") \
  X(journal_segments, "journal_segments", "Journal segments kept.")                     \
  X(journal_failed, "journal_failed", "1 while the journal cannot commit.")             \
  X(transfers, "transfers", "Uploads and downloads under way.")                         \
  X(s3_breaker, "s3_breaker", "Breaker of S3: 0 closed, 1 half open, 2 open.")          \
  X(redis_away, "redis_away", "Cores that cannot use Redis now.")                       \
  X(redis_queued, "redis_queued", "Commands to Redis without an answer.")               \
  X(mailbox_stash, "mailbox_stash", "Messages that wait for a mailbox slot.")

// Durations in seconds, counted in powers of two from 1 µs to 16 s and above.
struct Histogram {
  static constexpr std::size_t kBuckets = 26;
  std::array<std::uint64_t, kBuckets> buckets{};
  std::uint64_t count = 0;
  std::uint64_t sum_ns = 0;
  void record(std::int64_t ns) noexcept;
};

#define RINGLINE_HISTOGRAMS(X)                                                                    \
  X(commit_seconds, "journal_commit_seconds", "Write and sync of one group commit.")              \
  X(ack_seconds, "send_ack_seconds", "A send from its arrival at the room's core to its commit.") \
  X(turn_seconds, "loop_turn_seconds", "One turn of the loop.")                                   \
  X(store_seconds, "store_batch_seconds", "One batch into the store.")

struct Metrics {
#define X(field, name, help) std::uint64_t field = 0;
  RINGLINE_COUNTERS(X)
  RINGLINE_GAUGES(X)
#undef X
#define X(field, name, help) Histogram field;
  RINGLINE_HISTOGRAMS(X)
#undef X

  void add(const Metrics& other) noexcept;
};

// Prometheus text exposition format 0.0.4: totals over cores, connections also a core, process figures (CPU, memory, descriptors).
std::string render_prometheus(std::span<const Metrics> cores, double uptime_seconds);

}  // namespace ringline::base

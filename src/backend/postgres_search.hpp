// The index of texts in PostgreSQL: fed behind the messages, and asked by PostgresConnection::search.
#pragma once

#include "backend/postgres_connection.hpp"

namespace ringline::backend {

struct TextFeed {
  std::uint64_t taken = 0;    // messages
  std::uint64_t waiting = 0;  // that are still to be taken in
};
// One step, in a transaction of the caller's: some thousand messages, those first that wait longest. Nothing where another host is at it.
// `partitions`: so many of message_texts are known to be there; it grows with what is made.
Task<Result<TextFeed>> feed_texts(PostgresConnection& c, std::int64_t& partitions);

}  // namespace ringline::backend

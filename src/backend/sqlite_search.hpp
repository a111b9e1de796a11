// The index of texts in SQLite: fed behind the messages by the writing thread, and asked by SqliteConnection::search.
#pragma once

#include "backend/sqlite_connection.hpp"

namespace ringline::backend {

// One step, in a transaction of the caller's: takes in some thousand messages, those first that wait longest; how many.
Result<std::uint64_t> feed_texts(Db& db);
Result<std::uint64_t> texts_waiting(Db& db);

}  // namespace ringline::backend

// The store's answers as JSON and back, as far as those who ask in an outage need them: no password's hash, no address.
#pragma once

#include "ringline/base/json.hpp"
#include "ringline/chat/store.hpp"

namespace ringline::backend {

void write_answer(base::json::Writer& out, const chat::SessionRow& session);
void write_answer(base::json::Writer& out, const chat::Account& account);
void write_answer(base::json::Writer& out, const std::vector<base::RoomId>& rooms);
void write_answer(base::json::Writer& out, const chat::RoomPage& page);
void write_answer(base::json::Writer& out, const chat::HistoryPage& page);
void write_answer(base::json::Writer& out, const chat::SearchPage& page);

// False: it is not one of ours; the answer is then half read.
bool read_answer(const base::json::Value& value, chat::SessionRow& session);
bool read_answer(const base::json::Value& value, chat::Account& account);
bool read_answer(const base::json::Value& value, std::vector<base::RoomId>& rooms);
bool read_answer(const base::json::Value& value, chat::RoomPage& page);
bool read_answer(const base::json::Value& value, chat::HistoryPage& page);
bool read_answer(const base::json::Value& value, chat::SearchPage& page);

}  // namespace ringline::backend

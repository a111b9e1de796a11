// A Store whose answers Redis keeps, for when the database is away. One core's.
//
// Redis is asked only where the database answers `unavailable`, does not answer for a while, or is known to be away. So what is kept and stale can mislead
// nobody but in an outage, and there no longer than its lifetime. Kept are sessions (as long as they last; that one was ended is kept too), accounts (1 h, never
// with the password's hash), a user's rooms (5 min), lists of public rooms (5 min), pages of history (1 min) and of search (5 min). With Redis away it is as if
// there were no cache.
//
// CHANGES made through it are told to Redis when the database has them: the new value, or a mark. An answer that was asked for before a change must not
// hide it: answers are written only where nothing is (SET NX), a mark stays kCacheSettle, and what took longer than kCacheFresh is not kept.
//
// KEYS begin with `cache:` and go one by one, so that a cluster spreads them. Deleting them costs nothing but what they are for.
#pragma once

#include <chrono>
#include <memory>

#include "ringline/backend/redis.hpp"
#include "ringline/chat/store.hpp"
#include "ringline/loop/loop.hpp"

namespace ringline::backend {

// Loop and client outlive it, and nothing that it began runs any more when it goes: what it writes runs in the loop's scope. `session_ttl`: the longest that a
// session lasts.
std::unique_ptr<chat::Store> cached_store(std::unique_ptr<chat::Store> inner, loop::Loop& loop, Redis& redis,
                                          std::chrono::milliseconds session_ttl);

}  // namespace ringline::backend

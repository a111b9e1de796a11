// What people outside the host know: what they were told and what they saw. It survives crashes, and everything new is held against it.
//
// A send is one clientId, its `key`; each attempt has a text of its own, "KEY#N", so that it shows which attempt was kept.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "chat_store_sim.hpp"
#include "ringline/base/ids.hpp"

namespace ringline::chat::test {

using Place = std::pair<RoomId, std::uint64_t>;

struct Totals {
  std::uint64_t crashes = 0;
  std::uint64_t in_flight = 0;  // crashes with sends that had no answer
  std::uint64_t acked = 0;
  std::uint64_t duplicates = 0;  // sends answered as such
  std::uint64_t unavailable = 0;
  std::uint64_t voided = 0;  // attempts that failed in a commit or were refused, and that a later commit put to an end
  std::uint64_t seen = 0;    // events delivered
  std::uint64_t resumed = 0;
  std::uint64_t refused = 0;  // by slow readers
  std::uint64_t quiet = 0;    // lives in which everything came to rest before the crash
};

struct Truth {
  struct Seen {
    EventId id;
    std::string text;  // of a message
    std::string body;  // of an event that came whole
  };
  struct Acked {
    Place place;
    EventId id;
    std::uint64_t order;
  };
  struct Errored {
    std::string text;
    unsigned home;
    std::uint64_t order;
  };

  std::string wrong;  // the first thing
  std::map<Place, Seen> seen;
  std::map<RoomId, std::uint64_t> highest;        // seq seen by anybody
  std::unordered_map<std::string, Acked> acked;   // by key
  std::unordered_map<std::string, Place> places;  // of each key that was seen
  std::unordered_set<std::string> gone;           // attempts that may never be seen any more
  std::vector<Errored> errored;                   // of this life: not to be seen before the next
  std::unordered_set<std::string> errored_texts;
  std::vector<std::string> attempts;                                       // of this life
  std::map<std::pair<UserId, RoomId>, std::set<std::uint64_t>> delivered;  // since the last check
  std::map<RoomId, std::vector<std::string>> kept;  // texts in the store, by room and seq; empty: not a message
  std::uint64_t order = 0;                          // of all that clients do and hear

  void fail(std::string what) {
    if (wrong.empty()) wrong = std::move(what);
  }

  static std::string key_of(const std::string& text) { return text.substr(0, text.find('#')); }

  void see(Place place, EventId id, const std::string& text, std::string_view body) {
    const std::string what = "room " + place.first.text() + " seq " + std::to_string(place.second);
    if (gone.contains(text) || errored_texts.contains(text))
      return fail(what + ": " + text + " was answered with an error, and is there");
    Seen& known = seen[place];
    if (known.id && (known.id != id || known.text != text))
      return fail(what + " was " + known.text + ", now is " + text);
    known.id = id;
    known.text = text;
    if (!body.empty() && !known.body.empty() && known.body != body)
      return fail(what + " has changed: " + std::string(body));
    if (!body.empty()) known.body = body;
    highest[place.first] = std::max(highest[place.first], place.second);
    if (text.empty()) return;
    const auto [at, first] = places.try_emplace(key_of(text), place);
    if (!first && at->second != place) fail(what + ": " + text + " is there twice");
  }

  void ack(const std::string& key, Place place, EventId id, const std::string& text) {
    see(place, id, text, {});
    if (key_of(text) != key) fail(key + " was answered with " + text);
    const auto [at, first] = acked.try_emplace(key, Acked{place, id, order});
    if (!first && (at->second.place != place || at->second.id != id))
      fail(key + " was acked as another message before");
  }

  // The log of a core takes appends only when what failed before is voided.
  std::uint64_t put_to_an_end(unsigned home, std::uint64_t before) {
    return std::erase_if(errored, [&](const Errored& one) {
      if (one.home != home || one.order >= before) return false;
      gone.insert(one.text);
      return true;
    });
  }

  // After a recovery: what the store has now is what was, is and will be.
  void check(Database& db) {
    std::unordered_set<std::string> there;
    for (auto& [id, row] : db.rooms) take_in(db, id, row, there);
    for (const auto& [place, known] : seen) {
      const auto row = db.rooms.find(place.first);
      const std::string what = "room " + place.first.text() + " seq " + std::to_string(place.second);
      if (row == db.rooms.end() || row->second.log.size() < place.second)
        return fail(what + " (" + known.text + ") was seen, and is lost");
      const Event& event = row->second.log[place.second - 1];
      if (event.id != known.id || kept[place.first][place.second - 1] != known.text ||
          (!known.body.empty() && event.body.view() != known.body))
        return fail(what + " was seen as another event");
    }
    for (const auto& [key, one] : acked)
      if (const auto at = places.find(key); at == places.end() || at->second != one.place)
        return fail(key + " was acked, and is lost");
    for (const std::string& attempt : attempts)
      if (!there.contains(attempt)) gone.insert(attempt);
    attempts.clear();
    check_members(db);
    if (!db.wrong.empty()) fail(db.wrong);
  }

 private:
  // What is new in the store since the last time.
  void take_in(Database& db, RoomId id, const RoomRow& row, std::unordered_set<std::string>& there) {
    std::vector<std::string>& texts = kept[id];
    for (std::size_t i = texts.size(); i < row.log.size(); ++i) {
      const auto message = db.message_of(row.log[i]);
      texts.push_back(message ? message->text : std::string());
      if (row.log[i].epoch != 1) fail("room " + id.text() + " is in epoch " + std::to_string(row.log[i].epoch));
      see({id, i + 1}, row.log[i].id, texts.back(), row.log[i].body.view());
      if (message) there.insert(texts.back());
    }
  }

  void check_members(const Database& db) {
    for (const auto& [who, seqs] : delivered) {
      const RoomRow& row = db.rooms.at(who.second);
      bool member = std::ranges::find(row.first_members, who.first) != row.first_members.end();
      for (const Event& event : row.log) {
        const bool own = event.actor == who.first;
        if (own && event.kind == EventKind::member_joined) member = true;
        if (!member && seqs.contains(event.seq))
          return fail("user " + who.first.text() + " got seq " + std::to_string(event.seq) + " of room " +
                      who.second.text() + " without being a member");
        if (own && event.kind == EventKind::member_left) member = false;
      }
    }
    delivered.clear();
  }
};

}  // namespace ringline::chat::test

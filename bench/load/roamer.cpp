#include "roamer.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <iterator>

#include "ringline/base/clock.hpp"

namespace ringline::bench {
namespace {

constexpr std::int64_t kMilli = 1'000'000;
constexpr std::int64_t kArrivingNs = 20'000 * kMilli;  // longer, and another host is tried
constexpr std::int64_t kPauseNs = 100 * kMilli;        // before that, and up to twice as much more
constexpr std::int64_t kAgainMs = 200;  // after an answer that it is to be sent again, where that does not say when
constexpr std::uint32_t kConnectId = 1;
constexpr std::uint32_t kJoinId = 2;
constexpr std::uint32_t kSendIds = 2;  // a send's id is its counter and this
constexpr std::size_t kShownBytes = 300;

}  // namespace

Roamer::Roamer(Roamers& all, std::uint32_t number, std::uint32_t host)
    : all_(all), number_(number), host_(host), wire_(all.wires_, *this) {}

// Coming and going.

void Roamer::tick(std::int64_t now_ns) {
  if (state_ == State::away && now_ns >= due_ns_) return set_out(now_ns);
  if (state_ == State::arriving && now_ns >= due_ns_) return wire_.fail("it did not answer in time");
  if (state_ != State::there) return;
  for (std::size_t i = 0; i < again_.size();) {
    if (again_[i].first > now_ns) {
      ++i;
      continue;
    }
    const std::uint32_t counter = again_[i].second;
    again_[i] = again_.back();
    again_.pop_back();
    ask(counter);
  }
}

void Roamer::set_out(std::int64_t now_ns) {
  const loop::Address& address = all_.addresses_[host_];
  auto socket = loop::socket_tcp(address);
  if (!socket) {
    all_.last_trouble_ = socket.error().message;
    due_ns_ = now_ns + kPauseNs;
    return;
  }
  state_ = State::arriving;
  connected_ = ready_ = met_ = false;
  due_ns_ = now_ns + kArrivingNs;
  wire_.open(*socket, address,
             fmt::format("GET /ws HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                         "Sec-WebSocket-Key: cmluZ2xpbmUtbG9hZC0wMQ==\r\nSec-WebSocket-Version: 13\r\n"
                         "Sec-WebSocket-Protocol: ringline.v1\r\n\r\n",
                         all_.options_.addresses[host_]));
}

void Roamer::on_open() {
  const std::string resume = claim();
  const bool resumes = !token_.empty() && !resume.empty();
  if (token_.empty())
    say(fmt::format(R"({{"cmd":"connect","id":{},"data":{{"name":"{:08x}-{}"}}}})", kConnectId, all_.run_, number_));
  else
    say(fmt::format(R"({{"cmd":"connect","id":{},"data":{{"token":"{}"{}{}}}}})", kConnectId, token_,
                    resumes ? R"(,"resume":)" : "", resume));
  all_.witness_.on_connected(number_, host_, resumes);
}

// JSON: where he was in each room; empty: nowhere.
std::string Roamer::claim() const {
  std::string out;
  for (std::uint32_t room = 0; room < all_.rooms_.size(); ++room) {
    const auto at = all_.witness_.point(number_, room);
    if (!at) continue;
    fmt::format_to(std::back_inserter(out), R"({}"{}":{{"seq":{},"epoch":{}}})", out.empty() ? "{" : ",",
                   all_.rooms_[room], at->seq, at->epoch);
  }
  if (!out.empty()) out += '}';
  return out;
}

// He is in his rooms, or joins the next.
void Roamer::on_signed_in() {
  if (!connected_ || !ready_ || state_ != State::arriving) return;
  if (joined_ < all_.options_.rooms_of_all) return join_next();
  state_ = State::there;
  met_ = true;
  ++all_.arrivals_;
  again_.clear();
  for (const auto& [counter, awaited] : outbox_) ask(counter);
}

void Roamer::join_next() {
  say(fmt::format(R"({{"cmd":"join","id":{},"data":{{"room":"witness-{:08x}-{}"}}}})", kJoinId, all_.run_, joined_));
}

void Roamer::leave() {
  if (state_ != State::arriving && state_ != State::there) return;
  state_ = State::going;
  wire_.close();
}

void Roamer::on_lost(std::string why) {
  if (!met_) all_.last_trouble_ = fmt::format("person {} at {}: {}", number_, all_.options_.addresses[host_], why);
  state_ = State::going;
}

void Roamer::on_closed() {
  state_ = State::away;
  all_.witness_.on_left(number_);
  for (auto& [counter, awaited] : outbox_) awaited = false;
  host_ = all_.another_host(host_);
  const std::int64_t pause_ns = kPauseNs + all_.chance(2 * kPauseNs / kMilli) * kMilli;
  due_ns_ = base::monotonic_ns() + (met_ ? 0 : pause_ns);
}

// Sending.

bool Roamer::send(std::uint32_t room, std::int64_t intended_ns) {
  if (outbox_.size() >= kOutboxMax || all_.witness_.full()) return false;
  const std::uint32_t counter = all_.witness_.send(number_, room, intended_ns).marker.counter;
  outbox_.emplace(counter, false);
  if (there()) ask(counter);
  return true;
}

void Roamer::ask(std::uint32_t counter) {
  const auto found = outbox_.find(counter);
  if (found == outbox_.end()) return;
  found->second = true;
  const Marker& marker = all_.witness_.sent(number_, counter).marker;
  std::string& text = all_.text_;
  std::string& payload = all_.payload_;
  text.clear();
  append_text(text, marker, all_.options_.size);
  payload.clear();
  fmt::format_to(std::back_inserter(payload),
                 R"({{"cmd":"send_message","id":{},"data":{{"roomId":"{}","clientId":"{}","text":"{}"}}}})",
                 counter + kSendIds, all_.rooms_[marker.room], all_.witness_.client_id(marker), text);
  all_.witness_.on_asked(number_, counter, host_);
  say(payload);
}

// Being told.

void Roamer::on_text(std::string_view payload, std::int64_t now_ns) {
  const Heard heard = all_.ear_.hear(payload);
  switch (heard.kind) {
    case Heard::Kind::answer:
      return on_answer(heard, now_ns);
    case Heard::Kind::event:
      return all_.on_event(number_, heard, payload, now_ns);
    case Heard::Kind::ready:
      ready_ = true;
      if (token_.empty()) token_ = heard.token;
      return on_signed_in();
    case Heard::Kind::resumed:
      return on_resumed(heard);
    case Heard::Kind::reset:
      if (const auto room = all_.room_of(heard.room)) all_.witness_.on_reset(number_, *room, heard.point);
      return;
    case Heard::Kind::other:
      return;
    case Heard::Kind::nonsense:
      break;
  }
  all_.witness_.fail(fmt::format("person {} was told: {}", number_, payload.substr(0, kShownBytes)));
}

void Roamer::on_resumed(const Heard& heard) {
  std::vector<Resumed> rooms;
  for (const Heard::Room& room : heard.rooms) {
    if (const auto number = all_.room_of(room.room))
      rooms.push_back({.room = *number, .to = room.to, .complete = room.complete});
  }
  all_.witness_.on_resumed(number_, rooms);
}

void Roamer::on_answer(const Heard& heard, std::int64_t now_ns) {
  if (heard.id > kSendIds) return on_send_answer(heard.id - kSendIds, heard, now_ns);
  if (!heard.ok)
    return wire_.fail(fmt::format("{} was answered: {}", heard.id == kJoinId ? "join" : "connect", heard.code));
  if (heard.id == kConnectId) {
    connected_ = true;
  } else {
    all_.rooms_[joined_] = heard.room;
    all_.numbers_[heard.room] = joined_;
    ++joined_;
  }
  on_signed_in();
}

void Roamer::on_send_answer(std::uint32_t counter, const Heard& heard, std::int64_t now_ns) {
  Witness& witness = all_.witness_;
  const auto found = outbox_.find(counter);
  if (found == outbox_.end() || !found->second)
    return witness.fail(fmt::format("person {} got an answer to {} that was not asked for", number_, counter));
  found->second = false;
  if (!heard.ok) {
    witness.on_refused(heard.code, heard.code == "unavailable");
    const std::int64_t pause_ms = heard.retry_after_ms > 0 ? heard.retry_after_ms : kAgainMs;
    again_.emplace_back(now_ns + pause_ms * kMilli, counter);
    return;
  }
  Taken taken = heard.taken;
  all_.text_.clear();
  append_text(all_.text_, witness.sent(number_, counter).marker, all_.options_.size);
  taken.same_text = heard.text == all_.text_;
  outbox_.erase(found);
  witness.on_taken(number_, counter, taken, now_ns);
}

// All together.

Roamers::Roamers(const Options& options, loop::Loop& loop, std::vector<loop::Address> addresses, std::uint32_t run)
    : options_(options),
      addresses_(std::move(addresses)),
      run_(run),
      random_(options.seed),
      wires_(loop),
      witness_(run, options.connections, options.rooms_of_all),
      rooms_(options.rooms_of_all) {
  for (std::uint32_t i = 0; i < options.connections; ++i)
    people_.emplace_back(*this, i, i % static_cast<std::uint32_t>(addresses_.size()));
}

// The first one makes the rooms.
void Roamers::tick(std::int64_t now_ns) {
  if (closing_) return;
  for (Roamer& person : people_) {
    person.tick(now_ns);
    if (rooms_.back() == 0) return;
  }
}

bool Roamers::send(std::int64_t intended_ns) {
  return people_[round_++ % people_.size()].send(chance(options_.rooms_of_all), intended_ns);
}

void Roamers::move_one() { people_[chance(options_.connections)].leave(); }

std::uint32_t Roamers::another_host(std::uint32_t than) {
  const auto hosts = static_cast<std::uint32_t>(addresses_.size());
  return hosts == 1 ? than : (than + 1 + chance(hosts - 1)) % hosts;
}

std::optional<std::uint32_t> Roamers::room_of(std::uint64_t id) const {
  const auto found = numbers_.find(id);
  return found == numbers_.end() ? std::nullopt : std::optional(found->second);
}

void Roamers::on_event(std::uint32_t person, const Heard& heard, std::string_view payload, std::int64_t now_ns) {
  const auto room = room_of(heard.room);
  if (!room) return;
  Event event = heard.event;
  Marker marker;
  switch (find_marker(payload, marker)) {
    case Found::nothing:
      break;
    case Found::marker: {
      text_.clear();
      append_text(text_, marker, options_.size);
      if (payload.substr(payload.find(kMarkerByte), text_.size()) != text_)
        witness_.fail(fmt::format("event {} has another text than was sent", event.id));
      event.message = marker;
      break;
    }
    case Found::damaged:
      witness_.fail(fmt::format("the text of event {} is damaged", event.id));
      break;
  }
  witness_.on_event(person, *room, event, now_ns);
}

bool Roamers::all_there() const noexcept { return std::ranges::all_of(people_, &Roamer::there); }

bool Roamers::all_placed() const {
  for (std::uint32_t person = 0; person < people_.size(); ++person)
    for (std::uint32_t room = 0; room < rooms_.size(); ++room)
      if (!witness_.point(person, room)) return false;
  return true;
}

std::string Roamers::unrest() const {
  for (std::uint32_t i = 0; i < people_.size(); ++i)
    if (!people_[i].there()) return fmt::format("person {} is not there: {}", i, last_trouble_);
  return witness_.unrest();
}

void Roamers::close_all() {
  closing_ = true;
  for (Roamer& person : people_) person.leave();
}

bool Roamers::all_closed() const noexcept { return std::ranges::all_of(people_, &Roamer::closed); }

}  // namespace ringline::bench

// See redis.hpp and redis_impl.hpp: the client's start and end, and the way of a command. The map of slots is in redis_cluster.cpp.
#include "ringline/backend/redis.hpp"

#include <algorithm>
#include <array>

#include "backend/redis_impl.hpp"
#include "ringline/base/assert.hpp"
#include "ringline/base/log.hpp"

namespace ringline::backend {

using base::Errc;

namespace {

constexpr std::uint32_t kRetryMs = 1000;
constexpr std::chrono::milliseconds kCloseStep{1};
constexpr std::size_t kCommandKeptBytes = 64 * 1024;

}  // namespace

Redis::Impl::Impl(loop::Loop& loop, loop::Workers& workers, RedisOptions given, TlsContext tls, RedisListener* listener)
    : loop_(loop),
      options_(std::move(given)),
      tls_(std::move(tls)),
      context_{.loop = loop,
               .workers = workers,
               .options = options_,
               .tls = tls_.get(),
               .flush = flush_,
               .counters = counters_,
               .scope = scope_},
      subscriber_(context_, *this, listener),
      since_ms_(loop.now_ms()) {
  loop_.add_hook(*this);
}

Redis::Impl::~Impl() { ASSERT(scope_.running() == 0); }

void Redis::Impl::on_turn_end() {
  subscriber_.on_turn_end();
  flush_.flush();
}

// ---- Start and end.

Task<Result<void>> Redis::Impl::start(std::chrono::milliseconds wait) {
  ASSERT(!running_ && !context_.stopping);
  running_ = true;
  scope_.spawn(run());
  const std::int64_t deadline_ms = loop_.now_ms() + wait.count();
  bool in_time = true;
  while (in_time) {
    if (is_connected()) co_return Result<void>();
    const base::Error* why = failure();
    if (why && why->code == Errc::invalid) co_return std::unexpected(*why);
    if (context_.stopping) break;
    in_time = co_await changed_.until(deadline_ms);
  }
  const base::Error* why = failure();
  if (why) co_return std::unexpected(*why);
  co_return base::fail_later(Errc::unavailable, kRetryMs, "Redis did not answer in time");
}

Task<void> Redis::Impl::close() {
  ASSERT(!context_.stopping);
  context_.stopping = true;
  subscriber_.stop();
  for (const auto& server : servers_) {
    server->node.stop();
    server->feed.stop();
  }
  if (watch_) watch_->stop();
  refresh_.tell();
  paused_.tell();
  changed_.tell();
  while (scope_.running() > 0) co_await loop_.sleep(kCloseStep);
}

// What is there has to be found out once; a cluster has to be asked again and again.
Task<void> Redis::Impl::run() {
  unsigned failures = 0;
  while (!context_.stopping) {
    auto found = co_await find_out();
    if (found) break;
    const bool known = failure_ && failure_->message == found.error().message;
    if (!known && !context_.stopping)
      base::log::warn("redis_not_reached", {{"for", "start"}, {"why", found.error().message}});
    failure_ = std::move(found.error());
    on_change();
    if (!context_.stopping) co_await paused_.until(loop_.now_ms() + redis_pause_ms(options_.times, ++failures));
  }
  if (context_.stopping) co_return;
  failure_.reset();
  if (kind_ == Kind::cluster) {
    co_await keep_slots();
    co_return;
  }
  if (kind_ == Kind::sentinel) {
    watch_ = std::make_unique<RedisSwitchWatch>(context_, *this);
    watch_->start(scope_);
  }
  servers_.push_back(std::make_unique<RedisServer>(context_, *this, options_.servers.front()));
  servers_.front()->node.start(scope_);
  subscriber_.on_slots();
}

Task<Result<void>> Redis::Impl::find_out() {
  if (!options_.master.empty()) {
    kind_ = Kind::sentinel;
    co_return Result<void>();
  }
  auto any = +[](ReplyView) { return true; };
  RedisUser user = user_of(options_);
  user.database = 0;  // a cluster has no other, and is to say so itself
  auto answer = co_await ask_one_of(context_, options_.servers, std::move(user), {"HELLO"}, any);
  if (!answer) co_return std::unexpected(answer.error());
  auto info = read_hello(answer->reply, answer->server);
  if (!info) co_return std::unexpected(info.error());
  if (info->mode == "sentinel")
    co_return base::fail(Errc::invalid, answer->server.text() +
                                            " is a sentinel: write redis+sentinel://HOST:PORT/NAME, with the name that "
                                            "it knows the master by");
  if (info->mode != "cluster") {
    if (options_.servers.size() > 1)
      co_return base::fail(Errc::invalid, answer->server.text() +
                                              " stands alone: several hosts are named for a cluster only, or with "
                                              "redis+sentinel://");
    kind_ = Kind::single;
    co_return Result<void>();
  }
  if (options_.database != 0)
    co_return base::fail(Errc::invalid, "a Redis Cluster has database 0 only: take the number out of REDIS_URL");
  auto read = co_await read_cluster();
  if (!read) co_return read;
  kind_ = Kind::cluster;
  co_return Result<void>();
}

// ---- For keepers.

Task<Result<RedisEndpoint>> Redis::Impl::locate(RedisEndpoint known) {
  if (kind_ != Kind::sentinel) co_return known;
  auto master = co_await ask_sentinels(context_);
  co_return master;
}

void Redis::Impl::on_master_switched(const RedisEndpoint& to) {
  base::log::info("redis_master_switched", {{"to", to.text()}});
  for (const auto& server : servers_) {
    for (RedisKeeper* keeper : {static_cast<RedisKeeper*>(&server->node), static_cast<RedisKeeper*>(&server->feed)})
      if (!keeper->is_open() || keeper->connection().endpoint() != to) keeper->again("the master is another");
  }
}

void Redis::Impl::on_change() {
  const bool connected = is_connected();
  if (connected != connected_) since_ms_ = loop_.now_ms();
  connected_ = connected;
  changed_.tell();
}

// Of a cluster another may have its slots now.
void Redis::Impl::on_trouble() {
  if (kind_ == Kind::cluster) refresh_.tell();
  on_change();
}

// Only what was tried counts: a cluster's servers are connected to when they are needed.
bool Redis::Impl::is_connected() const noexcept {
  if (kind_ == Kind::unknown || servers_.empty() || failure_) return false;
  bool any = false;
  for (const auto& server : servers_) {
    const bool needed = kind_ != Kind::cluster || server->owns_slots;
    const bool feed_fails = server->feed.running() && !server->feed.is_open();
    if (!needed || !(server->node.running() || feed_fails)) continue;
    if (!server->node.is_open() || feed_fails) return false;
    any = true;
  }
  return any;
}

// A server that nothing was asked of yet is connected to when something is.
bool Redis::Impl::reaches(std::string_view key) const noexcept {
  const RedisServer* server = server_of(kind_ == Kind::cluster ? slot_of(key) : std::uint16_t{0});
  return server && server->node.is_well() && server->feed.is_well();
}

bool Redis::Impl::reaches_any() const noexcept {
  return std::ranges::any_of(servers_, [](const auto& server) { return server->node.is_open(); });
}

const base::Error* Redis::Impl::failure() const noexcept {
  if (failure_) return &*failure_;
  for (const auto& server : servers_) {
    for (const RedisKeeper* keeper :
         {static_cast<const RedisKeeper*>(&server->node), static_cast<const RedisKeeper*>(&server->feed)})
      if (keeper->running() && !keeper->is_open() && keeper->failure()) return &*keeper->failure();
  }
  return nullptr;
}

RedisHealth Redis::Impl::health() const {
  RedisHealth health{
      .connected = is_connected(), .since_ms = since_ms_, .channels = subscriber_.wanted(), .counters = counters_};
  const base::Error* why = failure();
  if (!health.connected) health.why = why ? why->message : "connecting";
  for (const auto& server : servers_) health.queued += server->node.connection().count();
  return health;
}

// ---- Commands.

void Redis::Impl::use(RedisServer& server) {
  server.used_ms = loop_.now_ms();
  if (!server.node.running() && !context_.stopping) server.node.start(scope_);
}

RedisServer* Redis::Impl::any_server() noexcept {
  for (const auto& server : servers_)
    if (server->node.is_open()) return server.get();
  return servers_.empty() ? nullptr : servers_.front().get();
}

RedisServer* Redis::Impl::server_of(std::uint16_t slot) const noexcept {
  if (kind_ != Kind::cluster) return servers_.empty() ? nullptr : servers_.front().get();
  return owners_.empty() ? nullptr : owners_[slot];
}

bool Redis::Impl::call(RedisCall& call, std::string_view key, Words words, std::chrono::milliseconds timeout) {
  if (key.empty()) return send(call, any_server(), words, timeout);
  return send(call, server_of(kind_ == Kind::cluster ? slot_of(key) : std::uint16_t{0}), words, timeout);
}

bool Redis::Impl::call_at(RedisCall& call, const RedisEndpoint& place, Words words, std::chrono::milliseconds timeout) {
  const auto found = std::ranges::find_if(servers_, [&](const auto& one) { return one->endpoint == place; });
  return send(call, found == servers_.end() ? nullptr : found->get(), words, timeout);
}

bool Redis::Impl::send(RedisCall& call, RedisServer* server, Words words, std::chrono::milliseconds timeout) {
  ASSERT(!call.waiting());
  call.redirects_ = 0;
  if (!server || context_.stopping) {
    ++counters_.refused;
    return false;
  }
  use(*server);
  command_.clear();
  append_command(command_, words);
  const bool taken = server->node.connection().enqueue(call, command_);
  if (taken && kind_ == Kind::cluster) {
    call.command_ = chunks_.take();
    call.command_->bytes = command_;
  }
  if (command_.capacity() > kCommandKeptBytes) command_.shrink_to_fit();
  ++(taken ? counters_.calls : counters_.refused);
  if (taken) loop_.timers().arm(call.deadline_, loop_.now_ms() + timeout.count());
  return taken;
}

void Redis::Impl::subscribe_again() {
  for (const auto& server : servers_)
    if (server->feed.is_open()) server->feed.again("subscriptions are made again");
}

std::vector<RedisEndpoint> Redis::Impl::places() const {
  std::vector<RedisEndpoint> all;
  for (const auto& server : servers_)
    if (kind_ != Kind::cluster || server->owns_slots) all.push_back(server->endpoint);
  return all;
}

// The command was not done where it was sent to; its deadline goes on.
void Redis::Impl::on_redirected(RedisCall& call, const Redirection& redirection) {
  RedisServer* to = find_or_add(redirection.to);
  if (!redirection.ask) {
    if (to && !owners_.empty()) owners_[redirection.slot] = to;
    if (to) to->owns_slots = true;
    refresh_.tell();
  }
  bool sent = false;
  if (to && call.command_ && ++call.redirects_ <= limits::kRedisRedirects) {
    use(*to);
    RedisConnection& connection = to->node.connection();
    const std::string& command = call.command_->bytes;
    sent = redirection.ask ? connection.enqueue_asking(call, command) : connection.enqueue(call, command);
  }
  if (sent) {
    ++counters_.redirects;
    return;
  }
  ++counters_.failures;
  call.finish(RedisFate::never_sent, {});
}

// ---- What is public.

namespace {

base::Error not_answered(RedisFate fate) {
  const bool unknown = fate == RedisFate::unknown;
  return {.code = Errc::unavailable,
          .message = unknown ? "Redis did not answer" : "Redis is away",
          .field = {},
          .retry_after_ms = kRetryMs,
          .sys = unknown ? kRedisUnknown : kRedisNeverSent};
}

// Commands of a coroutine's, all under way at once. It goes on when all are told of, from the loop, not from within the callback.
class Asking {
 public:
  struct Part {
    std::string_view key;
    const RedisEndpoint* place;  // null, or the server that it is for, whatever its key
    std::vector<std::string_view> words;
  };
  Asking(Redis::Impl& redis, std::vector<Part> parts, std::chrono::milliseconds timeout)
      : redis_(redis), parts_(std::move(parts)), timeout_(timeout) {}
  bool await_ready() const noexcept { return parts_.empty(); }
  bool await_suspend(std::coroutine_handle<> waiting) {
    waiting_ = waiting;
    left_ = parts_.size() + 1;
    for (const Part& part : parts_) {
      One& one = *ones_.emplace_back(std::make_unique<One>(*this));
      const bool taken = part.place ? redis_.call_at(one.call, *part.place, part.words, timeout_)
                                    : redis_.call(one.call, part.key, part.words, timeout_);
      if (!taken) --left_;
    }
    return --left_ > 0;
  }
  // In the order of the parts; the error of the first that was not answered.
  Result<std::vector<Reply>> await_resume() {
    std::vector<Reply> replies;
    for (const auto& one : ones_) {
      if (one->fate != RedisFate::answered) return std::unexpected(not_answered(one->fate));
      replies.push_back(std::move(one->reply));
    }
    return replies;
  }

 private:
  struct One {
    explicit One(Asking& of) : asking(of) {}
    void on_answer(RedisFate how, Reply answer) {
      fate = how;
      reply = std::move(answer);
      asking.on_answer();
    }
    Asking& asking;
    RedisFate fate = RedisFate::never_sent;
    Reply reply;
    RedisCallOf<One, &One::on_answer> call{*this};
  };
  void on_answer() {
    if (--left_ > 0) return;
    redis_.loop().send(redis_.loop().core(), loop::make_mail([this] { waiting_.resume(); }));
  }
  Redis::Impl& redis_;
  std::vector<Part> parts_;
  std::chrono::milliseconds timeout_;
  std::coroutine_handle<> waiting_;
  std::vector<std::unique_ptr<One>> ones_;
  std::size_t left_ = 0;
};

std::vector<std::string_view> views_of(const std::vector<std::string>& words) { return {words.begin(), words.end()}; }

}  // namespace

Redis::Redis(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Redis::~Redis() = default;

Result<std::unique_ptr<Redis>> Redis::make(loop::Loop& loop, loop::Workers& workers, RedisOptions options,
                                           RedisListener* listener) {
  if (options.servers.empty()) return base::fail(Errc::invalid, "no Redis server is named");
  if (!options.library.empty() && library_name(options.library).empty())
    return base::fail(Errc::invalid, "the library of functions does not begin with #!lua name=NAME");
  TlsContext tls;
  if (options.tls) {
    auto made = make_tls_context(options);
    if (!made) return std::unexpected(made.error());
    tls = std::move(*made);
  }
  return std::unique_ptr<Redis>(
      new Redis(std::make_unique<Impl>(loop, workers, std::move(options), std::move(tls), listener)));
}

Task<Result<void>> Redis::start(std::chrono::milliseconds wait) { return impl_->start(wait); }
Task<void> Redis::close() { return impl_->close(); }

bool Redis::call(RedisCall& call, std::string_view key, Words words, std::chrono::milliseconds timeout) {
  return impl_->call(call, key, words, timeout);
}

Task<Result<Reply>> Redis::ask(std::string key, std::vector<std::string> words, std::chrono::milliseconds timeout) {
  Asking asking(*impl_, {{.key = key, .place = nullptr, .words = views_of(words)}}, timeout);
  auto answer = co_await asking;
  if (!answer) co_return std::unexpected(answer.error());
  co_return std::move(answer->front());
}

Task<Result<std::vector<Reply>>> Redis::ask_many(std::vector<RedisCommand> commands,
                                                 std::chrono::milliseconds timeout) {
  std::vector<Asking::Part> parts;
  for (const RedisCommand& command : commands)
    parts.push_back({.key = command.key, .place = nullptr, .words = views_of(command.words)});
  Asking asking(*impl_, std::move(parts), timeout);
  auto answers = co_await asking;
  co_return answers;
}

Task<Result<std::vector<Reply>>> Redis::ask_all(std::vector<std::string> words, std::chrono::milliseconds timeout) {
  const std::vector<RedisEndpoint> places = impl_->places();
  if (places.empty()) co_return std::unexpected(not_answered(RedisFate::never_sent));
  std::vector<Asking::Part> parts;
  for (const RedisEndpoint& place : places) parts.push_back({.key = {}, .place = &place, .words = views_of(words)});
  Asking asking(*impl_, std::move(parts), timeout);
  auto answers = co_await asking;
  co_return answers;
}

bool Redis::publish(RedisCall& call, std::string_view channel, std::string_view payload,
                    std::chrono::milliseconds timeout) {
  if (payload.size() > impl_->options().bounds.payload_bytes) return false;
  const std::array<std::string_view, 3> words{is_cluster() ? "SPUBLISH" : "PUBLISH", channel, payload};
  return impl_->call(call, channel, words, timeout);
}

bool Redis::subscribe(std::string_view channel) { return impl_->subscriber().subscribe(channel); }
void Redis::unsubscribe(std::string_view channel) { impl_->subscriber().unsubscribe(channel); }
void Redis::subscribe_again() { impl_->subscribe_again(); }
bool Redis::is_cluster() const noexcept { return impl_->is_cluster(); }
bool Redis::is_connected() const noexcept { return impl_->is_connected(); }
bool Redis::reaches(std::string_view key) const noexcept { return impl_->reaches(key); }
bool Redis::reaches_any() const noexcept { return impl_->reaches_any(); }
std::uint64_t Redis::losses() const noexcept { return impl_->losses(); }
RedisHealth Redis::health() const { return impl_->health(); }

}  // namespace ringline::backend

#include "support.hpp"

#include <arpa/inet.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <latch>

namespace ringline::net::test {

namespace {

template <class T>
T must(base::Result<T> result) {
  if (result) return std::move(*result);
  std::fprintf(stderr, "%s\n", result.error().message.c_str());
  std::abort();
}

constexpr std::uint64_t kSegmentBytes = 8 * 1024 * 1024;

}  // namespace

struct TestServer::Core final : chat::Surroundings, loop::TurnHook {
  struct Told final : chat::RoomLogListener {
    chat::Shard* shard = nullptr;
    void on_committed(std::uint64_t last) override { shard->on_committed(last); }
    void on_failed(std::uint64_t first, std::uint64_t last) override { shard->on_failed(first, last); }
  };
  Core(TestServer& of, loop::Loop& on) : server_of_all(of), loop(on), doors(of.settings_) {}

  void post(unsigned to, ShardMail mail) override {
    Core* there = server_of_all.cores_[to].get();
    loop.send(to, loop::make_mail([there, mail = std::move(mail)]() mutable { mail(*there->shard); }));
  }
  bool can_post() const noexcept override { return !loop.overloaded(); }
  chat::Session* find(chat::ConnectionId id) override { return server->find_session(id); }
  base::Task<base::Result<void>> run_blocking(std::move_only_function<void()> job) override {
    auto running = server_of_all.workers_.run(loop, [job = std::move(job)]() mutable {
      job();
      return true;
    });
    auto done = co_await running;
    if (!done) co_return std::unexpected(done.error());
    co_return base::Result<void>{};
  }
  std::int64_t now_ms() const noexcept override { return loop.now_ms(); }
  void on_turn_end() override {
    if (std::int64_t again_ms = shard->flush(); again_ms != INT64_MAX) loop.timers().arm(flush_again, again_ms);
    server->on_turn_end();
  }
  void on_tick() {
    shard->on_tick(loop.now_ms());
    loop.timers().arm(tick, loop.now_ms() + chat::Shard::kTickMs);
  }
  void on_flush_due() {}
  static base::Task<void> end(Core& core) {
    core.server->stop_listening();
    core.server->kill_all();
    while (!core.server->empty() || core.loop.scope().running() > 1)
      co_await core.loop.sleep(1ms);  // what chat began ends too
    ++core.server_of_all.quiet_;
    while (core.server_of_all.quiet_ < core.server_of_all.setup_.cores) co_await core.loop.sleep(1ms);
    core.tick.disarm();
    core.flush_again.disarm();
    co_await core.journal->close();
    core.loop.stop();
  }

  TestServer& server_of_all;
  loop::Loop& loop;
  ChatDoors doors;
  HttpDoor door;
  Told told;
  std::unique_ptr<backend::Journal> journal;
  std::unique_ptr<chat::Store> store;
  std::unique_ptr<chat::Shard> shard;
  std::unique_ptr<Server> server;
  std::uint16_t port = 0;
  loop::TimerOf<Core, &Core::on_tick> tick{*this};
  loop::TimerOf<Core, &Core::on_flush_due> flush_again{*this};
};

// The thread of transfers.
struct TestServer::Files {
  Files(const Setup& setup, HandOverPorts& ports, std::unique_ptr<loop::Ring> ring) {
    thread = std::thread(
        [this, &setup, &ports, prepared = std::move(ring)]() mutable { run(setup, ports, std::move(prepared)); });
    ready.wait();
  }
  ~Files() {
    loop->post(loop::make_mail([this] { loop->scope().spawn(end(*this)); }));
    thread.join();
  }
  void run(const Setup& setup, HandOverPorts& ports, std::unique_ptr<loop::Ring> ring) {
    if (!ring->begin()) std::abort();
    loop::Mailboxes mailboxes(1);
    loop::Loop on(0, mailboxes, std::move(ring));
    loop::Loop* const peers[] = {&on};
    on.set_peers(peers);
    loop = &on;
    store = setup.files(on);
    transfers = std::make_unique<Transfers>(on, *store, ports, metrics, setup.transfers);
    ready.count_down();
    on.run();
  }
  static base::Task<void> end(Files& files) {
    files.transfers->stop();
    files.transfers->cut();
    while (!files.transfers->idle()) co_await files.loop->sleep(1ms);
    files.transfers.reset();
    files.store.reset();
    files.loop->stop();
  }

  base::Metrics metrics;
  std::unique_ptr<chat::BlobStore> store;
  std::unique_ptr<Transfers> transfers;
  loop::Loop* loop = nullptr;
  std::latch ready{1};
  std::thread thread;
};

TestServer::TestServer(Setup setup)
    : setup_(std::move(setup)),
      mailboxes_(setup_.cores),
      cores_(setup_.cores),
      loops_(setup_.cores),
      together_(setup_.cores),
      started_(setup_.cores + 1) {
  std::string pattern = (std::filesystem::temp_directory_path() / "ringline-net-XXXXXX").string();
  if (::mkdtemp(pattern.data()) == nullptr) std::abort();
  directory_ = pattern;
  settings_.host = "127.0.0.1";
  settings_.rate_limit_guests = 0;
  settings_.rate_limit_messages = 0;
  setup_.adjust(settings_);
  store_ = must(backend::open_sqlite((directory_ / "store.db").string()));
  // Not by the test's own thread: a ring that ends interrupts, a while later, the blocking calls of who prepared it.
  std::thread([this] {
    for (unsigned core = 0; core < setup_.cores; ++core) {
      rings_.push_back(
          must(loop::Ring::prepare({.entries = 1024, .receive_buffers = 64, .receive_buffer_bytes = 4096})));
      std::ranges::copy(rings_.back()->descriptors(), std::back_inserter(shared_));
    }
    if (!setup_.files) return;
    files_ring_ = must(loop::Ring::prepare({.entries = 256, .receive_buffers = 0, .receive_buffer_bytes = 0}));
    std::ranges::copy(files_ring_->descriptors(), std::back_inserter(shared_));
  }).join();
  if (setup_.cores > 1 || setup_.files) {
    ports_ = must(HandOverPorts::open(setup_.cores));
    std::ranges::copy(ports_->descriptors(), std::back_inserter(shared_));
  }
  if (setup_.files) files_ = std::make_unique<Files>(setup_, *ports_, std::move(files_ring_));
  for (unsigned core = 0; core < setup_.cores; ++core) threads_.emplace_back([this, core] { run(core); });
  started_.arrive_and_wait();
}

TestServer::~TestServer() { stop(); }

std::uint16_t TestServer::port(unsigned core) const { return cores_[core]->port; }

void TestServer::run(unsigned number) {
  std::unique_ptr<loop::Ring> ring = std::move(rings_[number]);
  if (!loop::unshare_descriptors(shared_) || !ring->begin()) std::abort();
  loop::Loop loop(number, mailboxes_, std::move(ring));
  loops_[number] = &loop;
  together_.arrive_and_wait();
  loop.set_peers(loops_);
  auto made = std::make_unique<Core>(*this, loop);
  Core& core = *made;
  cores_[number] = std::move(made);
  backend::JournalOptions options{.data_dir = directory_.string(), .core = number, .segment_bytes = kSegmentBytes};
  core.journal = must(backend::Journal::open(std::move(options), loop, workers_, core.told));
  core.store = store_->client(loop);
  core.server = std::make_unique<Server>(loop, ServerOptions{.core = number,
                                                             .connections_max = setup_.connections_max,
                                                             .settings = settings_,
                                                             .http = core.door,
                                                             .doors = &core.doors,
                                                             .hand_over = ports_.get(),
                                                             .times = setup_.times,
                                                             .http_limits = {.streams = &HttpDoor::streams}});
  core.shard = std::make_unique<chat::Shard>(chat::ShardOptions{.core = number,
                                                                .cores = setup_.cores,
                                                                .settings = settings_,
                                                                .tokens = tokens_,
                                                                .around = core,
                                                                .log = *core.journal,
                                                                .store = *core.store,
                                                                .metrics = loop.metrics(),
                                                                .scope = loop.scope(),
                                                                .framer = core.doors});
  core.told.shard = core.shard.get();
  core.doors.set_shard(*core.shard);
  core.door.loop = &loop;
  core.door.server = core.server.get();
  loop.add_hook(core);
  loop.add_hook(*core.journal);
  core.on_tick();
  core.port = must(core.server->listen(0));
  together_.arrive_and_wait();
  started_.arrive_and_wait();
  loop.run();
  together_.arrive_and_wait();
  cores_[number].reset();
}

void TestServer::stop() {
  if (threads_.empty()) return;
  for (auto& core : cores_) {
    Core* ending = core.get();
    ending->loop.post(loop::make_mail([ending] { ending->loop.scope().spawn(Core::end(*ending)); }));
  }
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
  files_.reset();
  store_.reset();
  std::error_code ignored;
  std::filesystem::remove_all(directory_, ignored);
}

void TestServer::on_core(unsigned number, std::function<void(Server&, chat::Shard&)> job) {
  std::atomic<bool> done{false};
  Core* there = cores_[number].get();
  there->loop.post(loop::make_mail([&, there] {
    job(*there->server, *there->shard);
    done = true;
    done.notify_one();
  }));
  done.wait(false);
}

base::Metrics TestServer::metrics(unsigned number) {
  base::Metrics copy;
  on_core(number, [&](Server&, chat::Shard&) { copy = cores_[number]->loop.metrics(); });
  return copy;
}

base::Metrics TestServer::transfer_metrics() {
  base::Metrics copy;
  std::latch done(1);
  files_->loop->post(loop::make_mail([&] {
    copy = files_->metrics;
    done.count_down();
  }));
  done.wait();
  return copy;
}

std::size_t TestServer::in_kernel(unsigned number) {
  std::size_t count = 0;
  on_core(number, [&](Server&, chat::Shard&) { count = cores_[number]->loop.ring().in_kernel(); });
  return count;
}

bool TestServer::wait_for(std::function<bool(const base::Metrics&)> holds, unsigned number) {
  for (int i = 0; i < 2000; ++i) {
    if (holds(metrics(number))) return true;
    std::this_thread::sleep_for(5ms);
  }
  return false;
}

Client::Client(std::uint16_t port, int receive_buffer) {
  socket_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (receive_buffer > 0) ::setsockopt(socket_, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof(receive_buffer));
  timeval time{.tv_sec = 10, .tv_usec = 0};
  ::setsockopt(socket_, SOL_SOCKET, SO_RCVTIMEO, &time, sizeof(time));
  ::setsockopt(socket_, SOL_SOCKET, SO_SNDTIMEO, &time, sizeof(time));
  int on = 1;
  ::setsockopt(socket_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  EXPECT_EQ(::connect(socket_, reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 0)
      << std::strerror(errno);
}

void Client::send(std::string_view bytes) const { EXPECT_TRUE(try_send(bytes)) << std::strerror(errno); }

bool Client::try_send(std::string_view bytes) const {
  while (!bytes.empty()) {
    ssize_t sent = ::send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent <= 0) return false;
    bytes.remove_prefix(static_cast<std::size_t>(sent));
  }
  return true;
}

void Client::close() {
  if (socket_ >= 0) ::close(std::exchange(socket_, -1));
}

void Client::reset() {
  linger hard{.l_onoff = 1, .l_linger = 0};
  ::setsockopt(socket_, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
  close();
}

bool Client::fill() {
  std::array<char, 65536> buffer;
  ssize_t received = ::recv(socket_, buffer.data(), buffer.size(), 0);
  if (received <= 0) return false;
  input_.append(buffer.data(), static_cast<std::size_t>(received));
  return true;
}

std::string Client::read(std::size_t bytes) {
  while (input_.size() < bytes)
    if (!fill()) {
      ADD_FAILURE() << "the stream ended: " << std::strerror(errno) << "; read " << input_;
      return {};
    }
  std::string result = input_.substr(0, bytes);
  input_.erase(0, bytes);
  return result;
}

std::string Client::response() {
  std::size_t end;
  while ((end = input_.find("\r\n\r\n")) == std::string::npos)
    if (!fill()) {
      ADD_FAILURE() << "no response: " << std::strerror(errno) << "; read " << input_;
      return {};
    }
  std::string head = read(end + 4);
  auto length = head.find("Content-Length: ");
  std::size_t body = length == std::string::npos ? 0 : std::strtoul(head.c_str() + length + 16, nullptr, 10);
  return head + read(body);
}

std::string Client::get(std::string_view path) {
  send("GET " + std::string(path) + " HTTP/1.1\r\nHost: localhost\r\n\r\n");
  return response();
}

bool Client::ended() {
  timeval time{.tv_sec = 5, .tv_usec = 0};
  ::setsockopt(socket_, SOL_SOCKET, SO_RCVTIMEO, &time, sizeof(time));
  char byte = 0;
  ssize_t received = ::recv(socket_, &byte, 1, 0);
  return input_.empty() && (received == 0 || (received < 0 && errno != EAGAIN));
}

std::string Client::upgrade(std::string_view target, std::string_view more) {
  send("GET " + std::string(target) +
       " HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
       "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" +
       std::string(more) + "\r\n");
  return response();
}

void Client::frame(protocol::Opcode opcode, std::string_view payload) const {
  std::string bytes;
  protocol::append_client_frame(bytes, opcode, payload, {1, 2, 3, 4});
  send(bytes);
}

Frame Client::frame() {
  std::string head = read(2);
  if (head.size() < 2) return {protocol::Opcode::continuation, {}};
  std::size_t size = static_cast<std::uint8_t>(head[1]);
  if (size >= 126) {
    std::string number = read(size == 126 ? 2 : 8);
    size = 0;
    for (char byte : number) size = size << 8 | static_cast<std::uint8_t>(byte);
  }
  return {static_cast<protocol::Opcode>(head[0] & 0x0f), read(size)};
}

std::string Client::wait_text(std::string_view part) {
  for (int i = 0; i < 100'000; ++i) {
    Frame next = frame();
    if (next.opcode == protocol::Opcode::text && next.payload.find(part) != std::string::npos) return next.payload;
    if (next.opcode == protocol::Opcode::continuation || next.opcode == protocol::Opcode::close) break;
  }
  ADD_FAILURE() << "no frame with " << part;
  return {};
}

void Client::sign_in() {
  EXPECT_TRUE(upgrade("/ws").starts_with("HTTP/1.1 101 "));
  text(R"({"id":1,"cmd":"connect","data":{}})");
  wait_text("\"ready\"");
}

}  // namespace ringline::net::test

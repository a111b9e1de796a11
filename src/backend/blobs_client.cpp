// A core's side of the blobs: each call goes to the thread of transfers as mail, runs there as a task, and its answer comes back as mail.
//
// A call is shared by both sides. Of what it holds the core's thread touches only `waiter`, the other thread only the rest, and the mail orders the two.
// It may read all of a file, so its time is long; a core that stops does not wait for it.
#include <fmt/format.h>
#include <openssl/evp.h>

#include <array>
#include <unordered_set>
#include <vector>

#include "backend/store_jobs.hpp"
#include "ringline/backend/blobs.hpp"
#include "ringline/base/assert.hpp"

namespace ringline::backend {

using base::Errc;

namespace {

constexpr std::uint32_t kRetryMs = 1000;

std::unexpected<base::Error> out_of_reach() {
  return base::fail_later(Errc::unavailable, kRetryMs, "files cannot be reached");
}

// Who waits on a core.
class Waiter {
 public:
  virtual void give_up() = 0;

 protected:
  ~Waiter() = default;
};
using Waiters = std::unordered_set<Waiter*>;

template <class T>
class BlobWait;

template <class T>
struct BlobCall {
  std::shared_ptr<Door> door;
  std::optional<Result<T>> answer;
  BlobWait<T>* waiter = nullptr;
};

// Suspends until the answer is there or its time is over.
template <class T>
class BlobWait final : public Waiter {
 public:
  BlobWait(loop::Loop& loop, Waiters& all, std::shared_ptr<BlobCall<T>> call) noexcept
      : loop_(loop), all_(all), call_(std::move(call)) {}
  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> waiting) {
    waiting_ = waiting;
    all_.insert(this);
    call_->waiter = this;
    loop_.timers().arm(timer_, loop_.now_ms() + std::chrono::milliseconds(base::limits::kBlobTimeout).count());
  }
  Result<T> await_resume() { return std::move(*answer_); }
  void finish(Result<T> answer) {
    timer_.disarm();
    all_.erase(this);
    answer_.emplace(std::move(answer));
    waiting_.resume();
  }
  void give_up() override {
    call_->waiter = nullptr;
    finish(out_of_reach());
  }

 private:
  void on_due() { give_up(); }
  loop::Loop& loop_;
  Waiters& all_;
  std::shared_ptr<BlobCall<T>> call_;
  std::coroutine_handle<> waiting_;
  std::optional<Result<T>> answer_;
  loop::TimerOf<BlobWait, &BlobWait::on_due> timer_{*this};
};

template <class T>
Task<void> run_there(std::shared_ptr<BlobCall<T>> call, Task<Result<T>> work) {
  Result<T> answer = co_await std::move(work);
  call->answer.emplace(std::move(answer));
  std::shared_ptr<Door> door = call->door;
  door->post(loop::make_mail([call = std::move(call)] {
    if (call->waiter) std::exchange(call->waiter, nullptr)->finish(std::move(*call->answer));
  }));
}

// The digest of all of a blob, piece by piece.
Task<Result<std::string>> digest(BlobPlace& place, std::string key) {
  auto head = co_await place.look(key);
  if (!head) co_return std::unexpected(head.error());
  auto reader = co_await place.read(key, 0, std::max<std::uint64_t>(head->size, 1));
  if (!reader) co_return std::unexpected(reader.error());
  const std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context(EVP_MD_CTX_new(), &EVP_MD_CTX_free);
  ASSERT(context && EVP_DigestInit_ex(context.get(), EVP_sha256(), nullptr) == 1);
  std::vector<std::byte> piece(base::limits::kTransferBytes);
  for (;;) {
    auto got = co_await (*reader)->read(piece);
    if (!got) co_return std::unexpected(got.error());
    if (*got == 0) break;
    EVP_DigestUpdate(context.get(), piece.data(), *got);
  }
  std::array<unsigned char, EVP_MAX_MD_SIZE> bytes{};
  unsigned size = 0;
  EVP_DigestFinal_ex(context.get(), bytes.data(), &size);
  std::string text;
  for (unsigned i = 0; i < size; ++i) fmt::format_to(std::back_inserter(text), "{:02x}", bytes[i]);
  co_return text;
}

class Client final : public BlobsClient {
 public:
  Client(loop::Loop& here, loop::Loop& there, BlobPlace& place)
      : here_(here), there_(there), place_(place), door_(std::make_shared<Door>(here)) {}
  ~Client() override {
    ASSERT(waiters_.empty());
    door_->shut();
  }

  void cut() override {
    cut_ = true;
    while (!waiters_.empty()) (*waiters_.begin())->give_up();
  }

  Task<Result<chat::BlobHead>> look(std::string key) override {
    return run<chat::BlobHead>([key = std::move(key)](BlobPlace& place) { return place.look(key); });
  }
  Task<Result<std::string>> sha256(std::string key) override {
    return run<std::string>([key = std::move(key)](BlobPlace& place) { return digest(place, key); });
  }
  Task<Result<void>> accept(std::string from, std::string to, std::string version) override {
    return run<void>([from = std::move(from), to = std::move(to), version = std::move(version)](BlobPlace& place) {
      return place.accept(from, to, version);
    });
  }
  Task<Result<void>> remove(std::string key) override {
    return run<void>([key = std::move(key)](BlobPlace& place) { return place.remove(key); });
  }

 private:
  template <class T, class Begin>
  Task<Result<T>> run(Begin begin) {
    if (cut_) co_return out_of_reach();
    auto call = std::make_shared<BlobCall<T>>(door_);
    there_.post(loop::make_mail([call, begin = std::move(begin), &there = there_, &place = place_] {
      there.scope().spawn(run_there<T>(call, begin(place)));
    }));
    BlobWait<T> wait(here_, waiters_, call);
    Result<T> answer = co_await wait;
    co_return answer;
  }

  loop::Loop& here_;
  loop::Loop& there_;
  BlobPlace& place_;
  std::shared_ptr<Door> door_;
  Waiters waiters_;
  bool cut_ = false;
};

}  // namespace

std::unique_ptr<BlobsClient> blobs_client(loop::Loop& here, loop::Loop& there, BlobPlace& place) {
  return std::make_unique<Client>(here, there, place);
}

}  // namespace ringline::backend

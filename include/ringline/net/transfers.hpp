// Transfers: connections whose request is about the bytes of a file, on a thread of their own.
//
// A core answers such a request with an order instead of an answer (HttpResponse::transfer): who asks, and whether he may, is settled then. The socket goes
// to this thread with what was read from it (hand_over.hpp), so no core ever reads a body or sends a file. Here it is a coroutine: one piece of
// limits::kTransferBytes at a time from the client to the place where files are kept, or back; nothing is read while the last piece is not taken, which is
// all the back-pressure there is. The connection ends with its transfer.
//
// Bounds: so many transfers at once, of all and of a user; a client that does nothing for ServerTimes::stalled_send, or uploads slower than
// limits::kTransferPace, is cut; the place has time limits of its own.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "ringline/base/ids.hpp"
#include "ringline/base/limits.hpp"
#include "ringline/base/metrics.hpp"
#include "ringline/base/task.hpp"
#include "ringline/chat/blobs.hpp"
#include "ringline/loop/loop.hpp"
#include "ringline/net/hand_over.hpp"

namespace ringline::net {

struct TransferOrder {
  enum class Kind : std::uint8_t { upload, download };
  Kind kind = Kind::download;
  base::UserId user;  // whose it counts as: the file's owner
  std::string key;    // of the blob
  std::string mime_type;
  std::uint64_t first = 0;        // of a download: where it begins
  std::uint64_t count = 0;        // bytes that come or go
  bool expects_continue = false;  // the client waits for "100 Continue"
  // Of the answer when it goes well, and of errors too; set by the connection.
  int status = 200;
  std::vector<std::pair<std::string, std::string>> headers;
};

struct TransferLimits {
  std::size_t at_once = base::limits::kTransfers;
  std::size_t of_user = base::limits::kTransfersPerUser;
  std::chrono::milliseconds stall = base::limits::kTransferGrace;  // a client that does nothing for so long is cut
  std::uint64_t pace = base::limits::kTransferPace;                // looked at after `stall`
};

class Arrivals;
class Line;

// Made, used and destroyed on its loop's thread.
class Transfers {
 public:
  Transfers(loop::Loop& loop, chat::BlobStore& store, HandOverPorts& ports, base::Metrics& metrics,
            TransferLimits limits = {});
  ~Transfers();  // only when `idle`
  Transfers(const Transfers&) = delete;
  Transfers& operator=(const Transfers&) = delete;

  std::size_t running() const noexcept { return lines_.size(); }
  void stop();  // nothing is taken from now on
  void cut();   // what is under way ends at once
  bool idle() const noexcept;

 private:
  static base::Task<void> run(Transfers& self, loop::Fd socket, std::unique_ptr<TransferOrder> order,
                              std::string input);
  base::Task<void> serve(Line& line, const TransferOrder& order, std::string input);
  base::Task<void> upload(Line& line, const TransferOrder& order, std::string input);
  base::Task<bool> take_body(Line& line, const TransferOrder& order, chat::BlobWriter& writer, std::string input);
  base::Task<void> download(Line& line, const TransferOrder& order);
  base::Task<void> refuse(Line& line, const TransferOrder& order, base::Error error);
  base::Task<void> hang_up(Line& line);

  loop::Loop& loop_;
  chat::BlobStore& store_;
  base::Metrics& metrics_;
  const TransferLimits limits_;
  HandOverPorts& ports_;
  std::unique_ptr<Arrivals> arrivals_;
  std::unordered_set<Line*> lines_;
  std::unordered_map<base::UserId, std::size_t> of_user_;
};

}  // namespace ringline::net

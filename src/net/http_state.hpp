// What a connection holds while it speaks HTTP: the reader of an incomplete request, and input behind a request that is being answered. Requests of
// one connection are answered one after the other, so pipelined ones need no order of their own.
#pragma once

#include <memory>
#include <string>

#include "ringline/base/limits.hpp"
#include "ringline/net/transfers.hpp"
#include "ringline/protocol/http.hpp"

namespace ringline::net {

// Input kept behind a request that is being answered; above, reading stops.
inline constexpr std::size_t kHttpInputBytes = base::limits::kHttpHeadBytes + base::limits::kHttpBodyBytes;

// A connection on its way to another thread.
struct Leaving {
  unsigned core;
  protocol::Request request;
  std::unique_ptr<TransferOrder> transfer;  // to the thread of transfers, instead
};

struct HttpState {
  std::unique_ptr<protocol::RequestReader> reader;  // null between requests
  std::unique_ptr<Leaving> leaving;
  std::string input;           // not read yet: came while a request was being answered
  std::string peer;            // the address at the other end of the socket; empty: not asked for yet
  std::string origin;          // of a request to Engine.IO, if it is allowed
  std::string address;         // of the client, as of the last request: behind a trusted proxy another one
  base::ConnectionId session;  // the Engine.IO session that the open request polls or posts to
  unsigned requests = 0;       // answered or being answered
  bool exchange_open = false;  // a request waits for its answer
  bool keep_alive = true;      // as of the request that is being answered
  bool head_only = false;      // likewise
  bool body_unread = false;    // likewise: it has a body that nobody here reads
  bool close_after_output = false;
  bool refused =
      false;  // the rest of a bad request is read and thrown away for a moment: a close at once would reset what answers it
  bool input_over = false;  // the client has closed its side; it still wants its answers
  bool reading = false;     // in next_request, which must not be entered again by an answer that comes at once
};

}  // namespace ringline::net

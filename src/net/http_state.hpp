// What a connection holds while it speaks HTTP: the reader of an incomplete request, and input behind a request that is being answered. Requests of
// one connection are answered one after the other, so pipelined ones need no order of their own.
#pragma once

#include <memory>
#include <string>

#include "ringline/protocol/http.hpp"

namespace ringline::net {

struct HttpState {
  std::unique_ptr<protocol::RequestReader> reader;  // null between requests
  std::string input;       // not read yet: came while a request was being answered
  std::string address;     // of the client, as of the last request
  unsigned requests = 0;   // answered or being answered
  bool exchange_open = false;      // a request waits for its answer
  bool keep_alive = true;          // as of the request that is being answered
  bool head_only = false;          // likewise
  bool close_after_output = false;
};

}  // namespace ringline::net

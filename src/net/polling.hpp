// What an Engine.IO session holds while it polls: the requests that wait for it, by the connections that brought them.
#pragma once

#include "ringline/base/ids.hpp"

namespace ringline::net {

struct Polling {
  base::ConnectionId poll;   // the open GET; none: 0
  base::ConnectionId post;   // a POST whose packets are not all taken yet
  base::ConnectionId probe;  // a WebSocket that is about to take over
  bool probed = false;       // it was answered: polls are sent home, so that the client can stop polling
  bool upgrading = false;    // `5` came: only the socket is missing
  bool left = false;         // the client has ended the session
};

}  // namespace ringline::net

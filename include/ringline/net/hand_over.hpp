// Hand-over of connections between the cores of a process, and to its thread of transfers: the pair of sockets through which each is given descriptors.
//
// A descriptor travels as a message (SCM_RIGHTS), never as a number, since cores have descriptor tables of their own. Made before the cores' threads
// start, and kept by all of them (loop/thread.hpp); destroyed after they are joined.
#pragma once

#include <memory>
#include <vector>

#include "ringline/base/result.hpp"
#include "ringline/loop/loop.hpp"
#include "ringline/loop/ring.hpp"

namespace ringline::net {

class Arrivals;

class HandOverPorts {
 public:
  static base::Result<std::unique_ptr<HandOverPorts>> open(unsigned cores);
  ~HandOverPorts();
  HandOverPorts(const HandOverPorts&) = delete;
  HandOverPorts& operator=(const HandOverPorts&) = delete;

  unsigned cores() const noexcept { return static_cast<unsigned>(ports_.size()); }
  std::vector<loop::Fd> descriptors() const;

 private:
  friend class HandOver;
  friend class Transfers;
  struct alignas(64) Port {
    loop::Fd to;                   // all cores send here
    loop::Fd at;                   // the thread itself receives here
    Arrivals* receiver = nullptr;  // used on that thread only
    loop::Loop* loop = nullptr;  // of the thread of transfers: set before the cores run, and there as long as they are
  };
  HandOverPorts() = default;
  std::vector<Port> ports_;
  Port transfers_;
};

}  // namespace ringline::net

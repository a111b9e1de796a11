// Hand-over of connections between the cores of a process: the pair of sockets through which each core is given descriptors.
//
// A descriptor travels as a message (SCM_RIGHTS), never as a number, since cores have descriptor tables of their own. Made before the cores' threads
// start, and kept by all of them (loop/thread.hpp); destroyed after they are joined.
#pragma once

#include <memory>
#include <vector>

#include "ringline/base/result.hpp"
#include "ringline/loop/ring.hpp"

namespace ringline::net {

class HandOver;

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
  struct alignas(64) Port {
    loop::Fd to;                   // all cores send here
    loop::Fd at;                   // the core itself receives here
    HandOver* receiver = nullptr;  // used on that core's thread only
  };
  HandOverPorts() = default;
  std::vector<Port> ports_;
};

}  // namespace ringline::net

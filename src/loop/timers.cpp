// The wheel. A timer stands at the level of the highest six bits in which its due time differs from now, in the slot that those bits name. So every slot
// in use lies ahead of now within its level (level 0: at now or ahead), nothing wraps, and the earliest slot in use of the lowest level in use comes next.
// Invariant: `now_ms_` never passes the start of a slot in use without emptying it.
//
// A slot's bit may be set though its timers were disarmed: disarming knows the list, not the wheel.
#include "ringline/loop/timers.hpp"

#include <algorithm>
#include <bit>

#include "ringline/base/assert.hpp"

namespace ringline::loop {

void Timer::disarm() noexcept {
  if (previous_ == nullptr) return;
  *previous_ = next_;
  if (next_ != nullptr) next_->previous_ = previous_;
  previous_ = nullptr;
  next_ = nullptr;
}

Timers::~Timers() {
  for (auto& level : wheel_) {
    for (Timer*& first : level) {
      while (first != nullptr) first->disarm();
    }
  }
  ASSERT(firing_ == nullptr);
}

void Timers::arm(Timer& timer, std::int64_t due_ms) noexcept {
  timer.disarm();
  timer.due_ms_ = due_ms;
  place(timer);
}

Timers::Place Timers::place_of(std::int64_t due_ms) const noexcept {
  constexpr std::int64_t kSpan = (std::int64_t{1} << (kLevelBits * kLevels)) - 1;
  // The past counts as now. What lies beyond the wheel's span waits at its end and is placed again from there.
  const std::int64_t at = std::clamp(due_ms, now_ms_, now_ms_ | kSpan);
  const auto differs = static_cast<std::uint64_t>(at ^ now_ms_);
  const unsigned level = differs == 0 ? 0 : static_cast<unsigned>(std::bit_width(differs) - 1) / kLevelBits;
  return {level, static_cast<unsigned>(at >> (level * kLevelBits)) & (kSlots - 1)};
}

void Timers::place(Timer& timer) noexcept {
  const Place place = place_of(timer.due_ms_);
  Timer*& first = wheel_[place.level][place.slot];
  timer.next_ = first;
  timer.previous_ = &first;
  if (first != nullptr) first->previous_ = &timer.next_;
  first = &timer;
  occupied_[place.level] |= std::uint64_t{1} << place.slot;
}

// The next slot after now that holds timers, and when it starts.
bool Timers::next_slot(Place& place, std::int64_t& start_ms) const noexcept {
  for (unsigned level = 0; level < kLevels; ++level) {
    const unsigned shift = level * kLevelBits;
    const unsigned here = static_cast<unsigned>(now_ms_ >> shift) & (kSlots - 1);
    std::uint64_t ahead = occupied_[level] & ~((std::uint64_t{2} << here) - 1);
    for (; ahead != 0; ahead &= ahead - 1) {
      const auto slot = static_cast<unsigned>(std::countr_zero(ahead));
      if (wheel_[level][slot] == nullptr) continue;
      place = {level, slot};
      start_ms = (((now_ms_ >> shift) & ~std::int64_t{kSlots - 1}) | slot) << shift;
      return true;
    }
  }
  return false;
}

Timer* Timers::take_slot(Place place) noexcept {
  Timer* first = wheel_[place.level][place.slot];
  wheel_[place.level][place.slot] = nullptr;
  occupied_[place.level] &= ~(std::uint64_t{1} << place.slot);
  return first;
}

// Moves what is due at `now_ms_` to the end of the firing list.
void Timers::collect(Timer**& end) noexcept {
  Timer* timer = take_slot({0, static_cast<unsigned>(now_ms_) & (kSlots - 1)});
  while (timer != nullptr) {
    Timer* next = timer->next_;
    if (timer->due_ms_ <= now_ms_) {
      timer->next_ = nullptr;
      timer->previous_ = end;
      *end = timer;
      end = &timer->next_;
    } else {
      place(*timer);  // from beyond the span
    }
    timer = next;
  }
}

void Timers::advance(std::int64_t now_ms) noexcept {
  ASSERT(firing_ == nullptr);  // not from a handler
  ASSERT(now_ms >= now_ms_);
  Timer** end = &firing_;
  collect(end);
  Place place{};
  std::int64_t start_ms = 0;
  while (now_ms_ < now_ms) {
    // What waits at the end of the span comes before anything ahead.
    Timer* again = take_slot({0, static_cast<unsigned>(now_ms_) & (kSlots - 1)});
    if (again != nullptr) {
      ++now_ms_;
    } else if (next_slot(place, start_ms) && start_ms <= now_ms) {
      now_ms_ = start_ms;
      again = take_slot(place);
    } else {
      now_ms_ = now_ms;
    }
    while (again != nullptr) {
      Timer* next = again->next_;
      this->place(*again);
      again = next;
    }
    collect(end);
  }
  while (firing_ != nullptr) {
    Timer& timer = *firing_;
    timer.disarm();
    timer.handler_(timer);
  }
}

std::int64_t Timers::next_due_ms() const noexcept {
  if (wheel_[0][static_cast<unsigned>(now_ms_) & (kSlots - 1)] != nullptr) return now_ms_;
  Place place{};
  std::int64_t start_ms = 0;
  return next_slot(place, start_ms) ? start_ms : INT64_MAX;
}

}  // namespace ringline::loop

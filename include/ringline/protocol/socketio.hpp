// Socket.IO 5 packets, as they stand in an Engine.IO message:  TYPE [ATTACHMENTS-] [/NAMESPACE,] [ACK] [JSON]
//
// Decoding checks the form; the JSON is parsed once, by the caller's reader, and its shape checked by `read_event`. Encoders append complete WebSocket
// frames (the Engine.IO "4" included); `body` is JSON text, made once for all receivers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "ringline/base/json.hpp"

namespace ringline::protocol::socketio {

inline constexpr std::size_t kAttachmentsMax = 64;  // of one packet
inline constexpr std::size_t kNamespaceBytesMax = 128;
inline constexpr std::size_t kAckDigitsMax = 16;  // ids stay below 2^53

enum class PacketType : char {
  connect = '0',
  disconnect = '1',
  event = '2',
  ack = '3',
  connect_error = '4',
  binary_event = '5',
  binary_ack = '6',
};

struct Packet {
  PacketType type = PacketType::event;
  std::string_view name_space = "/";
  std::string_view ack;      // digits; empty: none
  std::string_view payload;  // JSON text; empty: none
  std::uint32_t attachments = 0;
};

// None: not a packet that a client may send. The reference closes the transport then, and so do we.
std::optional<Packet> decode(std::string_view text) noexcept;

// An event's array: its name (a string that is not reserved) and the arguments behind it.
struct Event {
  std::string_view name;
  const base::json::Value* array = nullptr;  // [name, args…]
  std::size_t arguments = 0;
  const base::json::Value& argument(std::size_t index) const noexcept {
    return (*array)[static_cast<rapidjson::SizeType>(index + 1)];
  }
};
std::optional<Event> read_event(const base::json::Value& payload) noexcept;
// Whether each {"_placeholder":true,"num":N} of a value stands for one of `attachments`.
bool placeholders_fit(const base::json::Value& value, std::size_t attachments) noexcept;

// Any packet; its attachments follow as binary frames.
void append_packet_frame(std::string& out, const Packet& packet);
// 42["NAME",BODY], or with an offset (connection state recovery) 42["NAME",BODY,"OFFSET"]
void append_event_frame(std::string& out, std::string_view name, std::string_view body, std::string_view offset = {});
// 43ID[BODY], the body being the whole answer
void append_ack_frame(std::string& out, std::string_view ack, std::string_view body);
// 43ID[{"ok":true,"data":BODY}] or 43ID[{"ok":false,"error":BODY}]
void append_reply_frame(std::string& out, std::string_view ack, bool ok, std::string_view body);
// 42["command_failed",{"cmd":CMD,"error":BODY}]; `cmd` as the client wrote it
void append_command_failed_frame(std::string& out, std::string_view cmd, std::string_view body);
// 40{"sid":SID}, 44{"message":…,"data":…}, 41; with a namespace other than "/": 40/NAME,{…}
// 40{"sid":SID,"pid":PID} with one
void append_connect_frame(std::string& out, std::string_view name_space, std::string_view sid,
                          std::string_view pid = {});
void append_connect_error_frame(std::string& out, std::string_view name_space, std::string_view message,
                                std::string_view data = {});
void append_disconnect_frame(std::string& out, std::string_view name_space);

}  // namespace ringline::protocol::socketio

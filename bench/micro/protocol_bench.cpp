// Bytes to command and event to bytes, as a core does them for each frame and each event.
#include <benchmark/benchmark.h>

#include <span>
#include <string>
#include <string_view>

#include "allocations.hpp"
#include "ringline/base/assert.hpp"
#include "ringline/base/json.hpp"
#include "ringline/protocol/deflate.hpp"
#include "ringline/protocol/plain.hpp"
#include "ringline/protocol/socketio.hpp"
#include "ringline/protocol/websocket.hpp"

namespace {

namespace json = ringline::base::json;
namespace protocol = ringline::protocol;
using ringline::bench::CountAllocations;
using ringline::bench::Path;

constexpr std::size_t kTextBytes = 200;
constexpr std::size_t kMessageBytesMax = 64 * 1024;

std::string send_data() {
  return R"({"roomId":"1234567890123456789","clientId":"c-17","text":")" + std::string(kTextBytes, 'x') + R"("})";
}
std::string plain_command() { return R"({"id":7,"cmd":"send_message","data":)" + send_data() + "}"; }
std::string socketio_command() {
  return R"(27["send_message",)" + send_data() + "]";
}  // as it stands in an Engine.IO message

// A message_created as the sequencer writes it.
std::string event_body() {
  return R"({"roomId":"1234567890123456789","seq":4711,"epoch":1,"id":"1234567890123456790","at":"2026-01-31T23:59:59.123Z",)"
         R"("actor":{"id":"1234567890123456791","username":"someone"},"message":{"id":"1234567890123456790","roomId":"1234567890123456789",)"
         R"("seq":4711,"sender":{"id":"1234567890123456791","username":"someone","avatarUrl":null},"type":"text","text":")" +
         std::string(kTextBytes, 'x') + R"(","mentions":[],"reactions":[],"createdAt":"2026-01-31T23:59:59.123Z"}})";
}

// `state.range(0)` frames of 200 bytes of text in one read.
void read_frames(benchmark::State& state) {
  std::string bytes;
  for (std::int64_t i = 0; i < state.range(0); ++i) {
    protocol::append_client_frame(bytes, protocol::Opcode::text, plain_command(), {1, 2, 3, 4});
  }
  protocol::FrameContexts contexts(protocol::Role::server);
  protocol::FrameReader reader;
  const auto read = [&] {
    std::span<const std::byte> rest = std::as_bytes(std::span(bytes));
    std::int64_t messages = 0;
    while (!rest.empty()) {
      const protocol::FrameEvent event = reader.next(contexts, rest, {.message_bytes = kMessageBytesMax});
      messages += event.kind == protocol::FrameEvent::Kind::message ? 1 : 0;
      rest = rest.subspan(event.consumed);
    }
    reader.park(contexts);
    ASSERT(messages == state.range(0));
  };
  read();
  const CountAllocations count(state, Path::hot);
  for (auto _ : state) read();
  state.SetItemsProcessed(state.iterations() * state.range(0));
}
BENCHMARK(read_frames)->Name("websocket/read")->Arg(1)->Arg(8);

void decode_plain(benchmark::State& state) {
  json::Reader reader;
  const std::string text = plain_command();
  const auto decode = [&] {
    const protocol::plain::Command command = protocol::plain::decode(reader, text);
    ASSERT(command.data != nullptr && command.bad_field.empty());
  };
  decode();
  const CountAllocations count(state, Path::hot);
  for (auto _ : state) decode();
}
BENCHMARK(decode_plain)->Name("plain/decode");

void decode_socketio(benchmark::State& state) {
  json::Reader reader;
  const std::string text = socketio_command();
  const auto decode = [&] {
    const auto packet = protocol::socketio::decode(text);
    ASSERT(packet.has_value());
    const json::Value* payload = reader.parse(packet->payload);
    ASSERT(payload != nullptr);
    const auto event = protocol::socketio::read_event(*payload);
    ASSERT(event && event->arguments == 1);
  };
  decode();
  const CountAllocations count(state, Path::hot);
  for (auto _ : state) decode();
}
BENCHMARK(decode_socketio)->Name("socketio/decode");

template <void (*append)(std::string&, std::string_view, std::string_view)>
void encode(benchmark::State& state) {
  const std::string body = event_body();
  std::string out;
  append(out, "message_created", body);
  const CountAllocations count(state, Path::hot);
  for (auto _ : state) {
    out.clear();
    append(out, "message_created", body);
    benchmark::DoNotOptimize(out.data());
  }
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(out.size()));
}
BENCHMARK(encode<protocol::plain::append_event_frame>)->Name("plain/encode_event");
void append_socketio_event(std::string& out, std::string_view name, std::string_view body) {
  protocol::socketio::append_event_frame(out, name, body);
}
BENCHMARK(encode<append_socketio_event>)->Name("socketio/encode_event");

// A message of 1 KiB as a room's members get it, and as one of them sends it.
std::string kilobyte() {
  std::string text = event_body();
  for (char c = 'a'; text.size() < 1024; ++c)
    text += R"( {"id":"1234567890123456789","text":"the quick brown fox jumps over )" + std::string(1, c) + R"("})";
  text.resize(1024);
  return text;
}

void deflate_frame(benchmark::State& state) {
  protocol::Deflater deflater;
  const std::string text = kilobyte();
  std::string out;
  ASSERT(deflater.append_frame(out, protocol::Opcode::text, text));
  const CountAllocations count(state, Path::hot);
  for (auto _ : state) {
    out.clear();
    deflater.append_frame(out, protocol::Opcode::text, text);
    benchmark::DoNotOptimize(out.data());
  }
  state.counters["bytes"] = static_cast<double>(out.size());
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(text.size()));
}
BENCHMARK(deflate_frame)->Name("deflate/append_frame");

void inflate_message(benchmark::State& state) {
  protocol::Deflater deflater;
  protocol::Inflater inflater;
  const std::string text = kilobyte();
  std::string frame;
  ASSERT(deflater.append_frame(frame, protocol::Opcode::text, text));
  const std::string_view payload = protocol::first_frame(frame).payload;
  const auto inflate = [&] {
    const auto message = inflater.inflate(payload, kMessageBytesMax);
    ASSERT(message && message->size() == text.size());
  };
  inflate();
  const CountAllocations count(state, Path::hot);
  for (auto _ : state) inflate();
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(text.size()));
}
BENCHMARK(inflate_message)->Name("deflate/inflate");

}  // namespace

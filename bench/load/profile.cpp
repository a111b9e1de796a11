#include "profile.hpp"

#include <fmt/format.h>

#include <array>
#include <fstream>
#include <iterator>
#include <sstream>

#include "ringline/base/json.hpp"

namespace ringline::bench {
namespace {

namespace json = base::json;

struct TextField {
  std::string_view name;
  std::string Profile::* field;
};
constexpr auto kTexts = std::to_array<TextField>({{"path", &Profile::path},
                                                  {"subprotocol", &Profile::subprotocol},
                                                  {"greeting", &Profile::greeting},
                                                  {"join", &Profile::join},
                                                  {"joined", &Profile::joined},
                                                  {"send", &Profile::send},
                                                  {"answer", &Profile::answer},
                                                  {"ping", &Profile::ping},
                                                  {"pong", &Profile::pong}});
struct Flag {
  std::string_view name;
  bool Profile::* field;
};
constexpr auto kFlags = std::to_array<Flag>({{"binary", &Profile::binary}, {"echo", &Profile::echo}});

base::Result<Profile> wrong(const std::string& file, std::string_view what) {
  return base::fail(base::Errc::invalid, fmt::format("{}: {}", file, what));
}

}  // namespace

base::Result<Profile> load_profile(const std::string& file) {
  std::ifstream in(file);
  std::ostringstream text;
  text << in.rdbuf();
  if (!in) return wrong(file, "cannot be read");
  json::Reader reader;
  const std::string bytes = std::move(text).str();
  const json::Value* all = reader.parse(bytes);
  if (all == nullptr || !all->IsObject()) return wrong(file, "is not a JSON object");
  const json::Value* dialect = json::find(*all, "dialect");
  if (dialect == nullptr) dialect = all;
  if (!dialect->IsObject()) return wrong(file, "dialect is not an object");
  Profile profile;
  std::size_t known = 0;
  for (const TextField& text_field : kTexts) {
    const json::Value* value = json::find(*dialect, text_field.name);
    if (value == nullptr) continue;
    if (!value->IsString()) return wrong(file, fmt::format("dialect.{} is not a string", text_field.name));
    profile.*text_field.field = json::view(*value);
    ++known;
  }
  for (const Flag& flag : kFlags) {
    const json::Value* value = json::find(*dialect, flag.name);
    if (value == nullptr) continue;
    if (!value->IsBool()) return wrong(file, fmt::format("dialect.{} is not a boolean", flag.name));
    profile.*flag.field = value->GetBool();
    ++known;
  }
  if (known != dialect->MemberCount()) return wrong(file, "dialect has a field that is not known");
  if (profile.send.find("{text}") == std::string::npos) return wrong(file, "dialect.send has no {text}");
  if (!profile.answer.empty() && profile.send.find("{id}") == std::string::npos)
    return wrong(file, "dialect.send has no {id}, so that no answer can be told from another");
  if (profile.echo && profile.answer.empty()) return wrong(file, "dialect.echo without dialect.answer");
  return profile;
}

void fill(std::string& out, std::string_view pattern, const Blanks& blanks) {
  while (!pattern.empty()) {
    const std::size_t open = pattern.find('{');
    out += pattern.substr(0, open);
    if (open == std::string_view::npos) return;
    pattern.remove_prefix(open);
    const std::size_t close = pattern.find('}');
    const std::string_view blank = pattern.substr(0, close == std::string_view::npos ? pattern.size() : close + 1);
    if (blank == "{room}") {
      out += blanks.room;
    } else if (blank == "{text}") {
      out += blanks.text;
    } else if (blank == "{id}") {
      fmt::format_to(std::back_inserter(out), "{}", blanks.id);
    } else if (blank == "{size}") {
      fmt::format_to(std::back_inserter(out), "{}", blanks.text.size());
    } else {
      out += '{';
      pattern.remove_prefix(1);
      continue;
    }
    pattern.remove_prefix(blank.size());
  }
}

}  // namespace ringline::bench

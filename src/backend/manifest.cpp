// The manifest of a backup (ringline/backend/backup.hpp): JSON, read back by name, so that later ones may say more.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "backend/hashed_file.hpp"
#include "ringline/backend/backup.hpp"
#include "ringline/base/clock.hpp"
#include "ringline/base/json.hpp"

namespace ringline::backend {

using base::Errc;
using base::Result;
using base::json::find;
using base::json::find_integer;
using base::json::find_string;
using base::json::Value;

namespace {

constexpr std::int64_t kForm = 1;
constexpr std::string_view kName = "/manifest.json";

void write_table(base::json::Writer& out, const BackupTable& table) {
  out.begin_object().key("name").string(table.name).key("rows").unsigned_integer(table.rows);
  if (!table.columns.empty()) {
    out.key("columns").begin_array();
    for (const auto& column : table.columns)
      out.begin_object()
          .key("name")
          .string(column.name)
          .key("kind")
          .string(column.kind)
          .key("type")
          .string(column.type)
          .end_object();
    out.end_array().key("key").begin_array();
    for (const std::string& name : table.key) out.string(name);
    out.end_array();
  }
  out.end_object();
}

std::string text_of(const Manifest& manifest) {
  base::json::Writer out;
  out.begin_object().key("form").integer(kForm).key("ringline").string(manifest.version);
  out.key("madeAt").time(manifest.made_ms).key("madeMs").integer(manifest.made_ms);
  out.key("engine").string(manifest.engine).key("highestId").unsigned_integer(manifest.highest_id);
  out.key("notHere").begin_array();
  out.string("files in S3: they are kept by S3's own means (versioning, replication), and only named by the store");
  out.string("what is in Redis: it is made again from the store and the journals");
  out.string("settings: flags, environment and settings file");
  out.end_array().key("tables").begin_array();
  for (const BackupTable& table : manifest.tables) write_table(out, table);
  out.end_array().key("files").begin_array();
  for (const BackupFile& file : manifest.files)
    out.begin_object()
        .key("path")
        .string(file.path)
        .key("bytes")
        .unsigned_integer(file.bytes)
        .key("sha256")
        .string(file.sha256)
        .end_object();
  out.end_array().end_object();
  return std::string(out.view()) + "\n";
}

std::string text_in(const Value& object, std::string_view name) {
  return std::string(find_string(object, name).value_or(""));
}
std::uint64_t number_in(const Value& object, std::string_view name) {
  return static_cast<std::uint64_t>(std::max<std::int64_t>(0, find_integer(object, name).value_or(0)));
}

template <class Read>
void read_list(const Value& object, std::string_view name, Read read) {
  const Value* list = find(object, name);
  if (!list || !list->IsArray()) return;
  for (const Value& one : list->GetArray()) read(one);
}

BackupTable read_table(const Value& object) {
  BackupTable table{.name = text_in(object, "name"), .rows = number_in(object, "rows"), .columns = {}, .key = {}};
  read_list(object, "columns", [&](const Value& column) {
    table.columns.push_back(
        {.name = text_in(column, "name"), .kind = text_in(column, "kind"), .type = text_in(column, "type")});
  });
  read_list(object, "key", [&](const Value& name) {
    if (name.IsString()) table.key.emplace_back(base::json::view(name));
  });
  return table;
}

// A path that stays in the folder.
bool is_inside(std::string_view path) {
  const std::filesystem::path parts(path);
  return !path.empty() && parts.is_relative() && std::ranges::find(parts, "..") == parts.end();
}

}  // namespace

Result<void> write_manifest(const std::string& dir, const Manifest& manifest) {
  const std::string draft = dir + "/manifest.new";
  std::error_code ignored;
  std::filesystem::remove(draft, ignored);
  auto file = HashedFile::create(draft);
  if (!file) return std::unexpected(file.error());
  if (auto written = file->write(text_of(manifest)); !written) return written;
  if (auto kept = file->finish(); !kept) return std::unexpected(kept.error());
  return loop::disk::rename(draft, dir + std::string(kName));
}

Result<Manifest> read_manifest(const std::string& dir) {
  const std::string path = dir + std::string(kName);
  std::ifstream file(path, std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  if (!file)
    return base::fail(Errc::not_found, "there is no " + path + ": this is no backup, or one that was not finished");
  base::json::Reader json;
  const Value* all = json.parse(text);
  if (!all || !all->IsObject()) return base::fail(Errc::invalid, path + " is damaged: it is not a JSON object");
  if (find_integer(*all, "form") != kForm)
    return base::fail(Errc::invalid, path +
                                         " is of a form that this Ringline does not know: restore with the one that "
                                         "made it, or a newer one");
  Manifest manifest{.version = text_in(*all, "ringline"),
                    .made_ms = find_integer(*all, "madeMs").value_or(0),
                    .engine = text_in(*all, "engine"),
                    .highest_id = number_in(*all, "highestId"),
                    .tables = {},
                    .files = {}};
  read_list(*all, "tables", [&](const Value& table) { manifest.tables.push_back(read_table(table)); });
  bool inside = true;
  read_list(*all, "files", [&](const Value& one) {
    manifest.files.push_back(
        {.path = text_in(one, "path"), .bytes = number_in(one, "bytes"), .sha256 = text_in(one, "sha256")});
    inside = inside && is_inside(manifest.files.back().path);
  });
  if (!inside || manifest.tables.empty() || (manifest.engine != "sqlite" && manifest.engine != "postgres"))
    return base::fail(Errc::invalid, path + " is damaged");
  std::uint64_t number = 0;
  const std::string sum = Sha256::of(text);
  std::from_chars(sum.data(), sum.data() + 15, number, 16);  // 60 bits
  manifest.number = static_cast<std::int64_t>(number | 1);
  return manifest;
}

}  // namespace ringline::backend

// See s3_place.hpp; and the links to files in S3.
#include "backend/s3_place.hpp"

#include <fmt/format.h>

#include "ringline/chat/files.hpp"

namespace ringline::backend {

namespace {

struct Address {
  std::string scheme;
  std::string host;
  std::string path;
};

// Of what settings have let through. A port that is the scheme's own is not in the Host header that clients send.
Address split(std::string_view url) {
  const std::size_t host = url.find("://") + 3;
  const std::size_t path = std::min(url.find('/', host), url.size());
  Address address{.scheme = std::string(url.substr(0, host)),
                  .host = std::string(url.substr(host, path - host)),
                  .path = std::string(url.substr(path))};
  const std::string_view own_port = address.scheme == "https://" ? ":443" : ":80";
  if (address.host.ends_with(own_port)) address.host.resize(address.host.size() - own_port.size());
  return address;
}

}  // namespace

S3Place::S3Place(const S3Options& options)
    : who_{.access_key = options.access_key, .secret_key = options.secret_key, .region = options.region},
      bucket_(options.bucket),
      path_style_(options.path_style) {
  const Address at =
      split(options.endpoint.empty() ? fmt::format("https://s3.{}.amazonaws.com", options.region) : options.endpoint);
  scheme_ = at.scheme;
  host_ = path_style_ ? at.host : bucket_ + "." + at.host;
  const Address shown = options.public_url_base.empty() ? Address{.scheme = scheme_, .host = host_, .path = {}}
                                                        : split(options.public_url_base);
  public_scheme_ = shown.scheme;
  public_host_ = shown.host;
  public_prefix_ = shown.path;
  // http://localhost/minio/BUCKET: the bucket is in the signed path already.
  if (path_style_ && public_prefix_.ends_with("/" + bucket_))
    public_prefix_.resize(public_prefix_.size() - bucket_.size() - 1);
}

std::string S3Place::path_of(std::string_view key) const {
  std::string path = path_style_ ? "/" + bucket_ : std::string();
  if (!key.empty() || path.empty()) path.append("/").append(key);
  return path;
}

S3Request S3Place::request(std::string method, std::string_view key) const {
  return {.method = std::move(method), .host = host_, .path = path_of(key), .query = {}, .headers = {}};
}

std::string S3Place::url(const S3Request& request) const {
  return scheme_ + host_ + encode_uri(request.path, true) + encode_query(request.query);
}

std::string S3Place::copy_source(std::string_view key) const {
  return encode_uri(fmt::format("/{}/{}", bucket_, key), true);
}

S3Request S3Place::public_request(std::string method, std::string_view key) const {
  return {.method = std::move(method), .host = public_host_, .path = path_of(key), .query = {}, .headers = {}};
}

std::string S3Place::public_url(const S3Request& request, const std::string& signature) const {
  return public_scheme_ + public_host_ + public_prefix_ + encode_uri(request.path, true) + "?" + signature;
}

// ---- Links

namespace {

class S3Links final : public chat::FileLinks {
 public:
  explicit S3Links(const S3Options& options)
      : place_(options), age_(options.link_age), direct_(!options.public_url_base.empty()) {}

  // The length is signed, so S3 itself refuses more.
  chat::Link upload(const chat::File& file, std::int64_t wall_ms) const override {
    S3Request request = place_.public_request("PUT", chat::upload_key(file.id));
    request.headers = {{"content-length", std::to_string(file.size)}, {"content-type", file.mime_type}};
    chat::Link link = sign(request, base::limits::kUploadLinkAge, wall_ms);
    link.headers.emplace_back("Content-Type", file.mime_type);
    return link;
  }

  chat::Link download(const chat::File& file, std::int64_t wall_ms) const override {
    S3Request request = place_.public_request("GET", chat::file_key(file.id));
    request.query = {{"response-content-disposition", chat::disposition_of(file)},
                     {"response-content-type", file.mime_type}};
    return sign(request, age_, wall_ms);
  }

  bool direct() const noexcept override { return direct_; }

 private:
  chat::Link sign(const S3Request& request, std::chrono::milliseconds age, std::int64_t wall_ms) const {
    const auto valid = std::chrono::ceil<std::chrono::seconds>(age);
    return {.method = request.method,
            .url = place_.public_url(request, sign_query(place_.who(), request, wall_ms, valid)),
            .headers = {},
            .expires_ms = wall_ms / 1000 * 1000 + std::chrono::milliseconds(valid).count()};
  }

  const S3Place place_;
  const std::chrono::milliseconds age_;
  const bool direct_;
};

}  // namespace

std::unique_ptr<chat::FileLinks> s3_links(const S3Options& options) { return std::make_unique<S3Links>(options); }

}  // namespace ringline::backend

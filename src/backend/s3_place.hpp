// Where an S3 is, for the server and for clients: paths, hosts and requests of keys, not yet signed. It never changes.
#pragma once

#include <string>
#include <string_view>

#include "backend/sigv4.hpp"
#include "ringline/backend/blobs.hpp"

namespace ringline::backend {

class S3Place {
 public:
  explicit S3Place(const S3Options& options);

  const S3Credentials& who() const noexcept { return who_; }
  const std::string& bucket() const noexcept { return bucket_; }
  // Of the server to a key; without one, to the bucket.
  S3Request request(std::string method, std::string_view key) const;
  std::string url(const S3Request& request) const;
  // As x-amz-copy-source wants it.
  std::string copy_source(std::string_view key) const;
  // Of a client. `signature`: of sign_query.
  S3Request public_request(std::string method, std::string_view key) const;
  std::string public_url(const S3Request& request, const std::string& signature) const;

 private:
  std::string path_of(std::string_view key) const;

  S3Credentials who_;
  std::string bucket_;
  bool path_style_;
  std::string scheme_;  // "https://"
  std::string host_;    // as in the Host header, with the bucket where it is in the name
  std::string public_scheme_;
  std::string public_host_;
  std::string public_prefix_;  // "/minio", or nothing
};

}  // namespace ringline::backend

// See redis_tls.hpp (OpenSSL: BIO_s_bio(3), SSL_get_error(3), X509_check_host(3)).
#include "backend/redis_tls.hpp"

#include <fmt/format.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>

#include <algorithm>

#include "backend/redis_topology.hpp"
#include "ringline/base/assert.hpp"

namespace ringline::backend {

using base::Errc;
using base::Result;

namespace {

constexpr std::size_t kPieceBytes = 16 * 1024;  // a record's

// What OpenSSL says first; the rest follows from that.
std::string error_text() {
  const unsigned long first = ERR_get_error();
  ERR_clear_error();
  const char* text = first == 0 ? nullptr : ERR_reason_error_string(first);
  return text ? text : "no reason given";
}

std::unexpected<base::Error> refuse(std::string_view what, const std::string& file) {
  return base::fail(Errc::invalid, fmt::format("TLS for Redis: {} {} cannot be used: {}", what, file, error_text()));
}

}  // namespace

Result<TlsContext> make_tls_context(const RedisOptions& options) {
  ERR_clear_error();
  TlsContext context(SSL_CTX_new(TLS_client_method()));
  ASSERT(context != nullptr);
  SSL_CTX_set_min_proto_version(context.get(), TLS1_2_VERSION);
  SSL_CTX_set_verify(context.get(), SSL_VERIFY_PEER, nullptr);
  SSL_CTX_set_mode(context.get(), SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  if (options.tls_ca.empty()) {
    if (SSL_CTX_set_default_verify_paths(context.get()) != 1) return refuse("the system's list of", "authorities");
  } else if (SSL_CTX_load_verify_locations(context.get(), options.tls_ca.c_str(), nullptr) != 1) {
    return refuse("the file of authorities", options.tls_ca);
  }
  if (options.tls_certificate.empty()) return context;
  if (SSL_CTX_use_certificate_chain_file(context.get(), options.tls_certificate.c_str()) != 1)
    return refuse("the certificate", options.tls_certificate);
  const std::string& key = options.tls_key.empty() ? options.tls_certificate : options.tls_key;
  if (SSL_CTX_use_PrivateKey_file(context.get(), key.c_str(), SSL_FILETYPE_PEM) != 1 ||
      SSL_CTX_check_private_key(context.get()) != 1)
    return refuse("the key", key);
  return context;
}

TlsStream::TlsStream(SSL_CTX* context, const std::string& host) : ssl_(SSL_new(context)), host_(host) {
  BIO* ours = nullptr;
  BIO* network = nullptr;
  const int paired = BIO_new_bio_pair(&ours, 0, &network, 0);
  ASSERT(ssl_ != nullptr && paired == 1);
  network_.reset(network);
  SSL_set_bio(ssl_.get(), ours, ours);  // which it owns now
  SSL_set_connect_state(ssl_.get());
  int named = 0;
  if (is_address(host)) {
    named = X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl_.get()), host.c_str());
  } else {
    SSL_set_tlsext_host_name(ssl_.get(), host.c_str());
    named = SSL_set1_host(ssl_.get(), host.c_str());
  }
  if (named != 1) failure_ = host + " is no name that a certificate can have";
}

bool TlsStream::ready() const noexcept { return failure_.empty() && SSL_is_init_finished(ssl_.get()) == 1; }

std::size_t TlsStream::feed(std::span<const std::byte> bytes) {
  const std::size_t most = std::min(bytes.size(), std::size_t{1} << 30);
  const int taken = BIO_write(network_.get(), bytes.data(), static_cast<int>(most));
  return taken > 0 ? static_cast<std::size_t>(taken) : 0;
}

// What a call of OpenSSL's that did not succeed means.
void TlsStream::judge(int result) {
  const int error = SSL_get_error(ssl_.get(), result);
  if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE || !failure_.empty()) return;
  const long verified = SSL_get_verify_result(ssl_.get());
  if (error == SSL_ERROR_ZERO_RETURN) {
    failure_ = "the server has ended TLS";
  } else if (verified != X509_V_OK) {
    failure_ = fmt::format("the certificate of {} is not accepted: {}", host_, X509_verify_cert_error_string(verified));
  } else {
    failure_ = "TLS failed: " + error_text();
  }
  ERR_clear_error();
}

bool TlsStream::shake_hands() {
  if (!failure_.empty()) return false;
  if (SSL_is_init_finished(ssl_.get()) == 1) return true;
  ERR_clear_error();
  const int done = SSL_do_handshake(ssl_.get());
  if (done != 1) judge(done);
  return done == 1;
}

std::size_t TlsStream::read(std::span<std::byte> into) {
  if (!shake_hands()) return 0;
  ERR_clear_error();
  std::size_t got = 0;
  const int done = SSL_read_ex(ssl_.get(), into.data(), into.size(), &got);
  if (done == 1) return got;
  judge(done);
  return 0;
}

std::size_t TlsStream::write(std::string_view bytes) {
  if (!ready() || bytes.empty()) return 0;
  ERR_clear_error();
  std::size_t written = 0;
  const int done = SSL_write_ex(ssl_.get(), bytes.data(), std::min(bytes.size(), kPieceBytes), &written);
  if (done == 1) return written;
  judge(done);
  return 0;
}

void TlsStream::take_output(std::string& out) {
  for (;;) {
    const std::size_t waiting = BIO_ctrl_pending(network_.get());
    if (waiting == 0) return;
    const std::size_t before = out.size();
    out.resize(before + waiting);
    const int taken = BIO_read(network_.get(), out.data() + before, static_cast<int>(waiting));
    out.resize(before + static_cast<std::size_t>(std::max(taken, 0)));
    if (taken <= 0) return;
  }
}

}  // namespace ringline::backend

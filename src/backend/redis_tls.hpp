// TLS for a connection of ours: OpenSSL between two buffers (a BIO pair), no socket. Bytes of the network go in by `feed` and come out by `take_output`;
// ours go in by `write` and come out by `read`. The server's name, or address, must be in its certificate.
#pragma once

#include <openssl/ssl.h>

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "ringline/backend/redis.hpp"

namespace ringline::backend {

struct FreeTlsContext {
  void operator()(SSL_CTX* context) const noexcept { SSL_CTX_free(context); }
};
using TlsContext = std::unique_ptr<SSL_CTX, FreeTlsContext>;
// Reads the files that the options name. Blocks: for the start.
base::Result<TlsContext> make_tls_context(const RedisOptions& options);

class TlsStream {
 public:
  TlsStream(SSL_CTX* context, const std::string& host);
  TlsStream(const TlsStream&) = delete;
  TlsStream& operator=(const TlsStream&) = delete;

  // How many of the network's bytes were taken; `read` before the rest is fed.
  std::size_t feed(std::span<const std::byte> bytes);
  // What the peer sent; none: more has to be fed. Goes on with the handshake first.
  std::size_t read(std::span<std::byte> into);
  // How many of ours were taken; `take_output` before the rest is written.
  std::size_t write(std::string_view bytes);
  // Appends what is to go to the network.
  void take_output(std::string& out);

  bool ready() const noexcept;  // the handshake is done, and the peer is who it should be
  // Not empty: it is over, and why.
  const std::string& failure() const noexcept { return failure_; }

 private:
  bool shake_hands();
  void judge(int result);

  struct FreeSsl {
    void operator()(SSL* ssl) const noexcept { SSL_free(ssl); }
  };
  struct FreeBio {
    void operator()(BIO* bio) const noexcept { BIO_free(bio); }
  };
  std::unique_ptr<SSL, FreeSsl> ssl_;
  std::unique_ptr<BIO, FreeBio> network_;
  std::string host_;
  std::string failure_;
};

}  // namespace ringline::backend

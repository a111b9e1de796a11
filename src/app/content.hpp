// The door for the bytes of files: PUT and GET /api/v1/files/{id}/content.
//
// Who asks shows an access token, or has a link that was signed for him (`expires` and `signature`); avatars are for everybody. What he may is settled
// here; the bytes go through the thread of transfers (net/transfers.hpp), or where clients reach S3 themselves, a GET is sent there.
#pragma once

#include <optional>
#include <string_view>

#include "ringline/base/ids.hpp"
#include "ringline/base/task.hpp"
#include "ringline/chat/user_card.hpp"
#include "ringline/net/server.hpp"

namespace ringline::app {

class Core;

// The file whose bytes a path below /api/v1 means; none: it is another path.
std::optional<base::FileId> content_of(std::string_view path) noexcept;
// For the server's HttpLimits: bodies of PUT there are not read by a core.
bool streams_body(std::string_view method, std::string_view path) noexcept;
// Whether the request has a signature in place of a token.
bool is_signed(const net::HttpRequest& question) noexcept;

// `who`: of the token; null where a signature is to be looked at, or who asks is nobody: he gets avatars.
base::Task<net::HttpResponse> answer_content(Core& core, net::HttpRequest question, base::FileId id,
                                             chat::UserCard who);

}  // namespace ringline::app

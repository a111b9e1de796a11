// Files as the door for their bytes needs them (PUT and GET /files/{id}/content); commands about files are in the command table.
#pragma once

#include "ringline/base/result.hpp"
#include "ringline/base/task.hpp"
#include "ringline/chat/objects.hpp"
#include "ringline/chat/shard.hpp"
#include "ringline/chat/user_card.hpp"

namespace ringline::chat {

// Of a link that was signed for this file, no user is asked: `who` is null.
// One that may be read: its owner may, members of its room, and of an avatar everybody. not_found otherwise.
base::Task<base::Result<File>> file_to_read(Shard::Parts& parts, FileId id, UserCard who);
// One that waits for its bytes: conflict where they are there.
base::Task<base::Result<File>> file_to_write(Shard::Parts& parts, FileId id, UserCard who);

// Content-Disposition: what browsers may show by themselves is shown, all else is only saved, so that a page among the files cannot run as one of ours.
std::string disposition_of(const File& file);

}  // namespace ringline::chat

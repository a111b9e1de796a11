// The schema of the SQLite store, as the steps that lead to it. A step that was released is never changed: the next one changes what it made.
// PRAGMA user_version counts the steps that a file has.
//
// Ids are 63-bit numbers; times are milliseconds since 1970, 0 for never. Clustered by room and seq (WITHOUT ROWID), a page of history is one walk of
// neighbouring pages.
#pragma once

#include <array>

namespace ringline::backend {

inline constexpr auto kSqliteMigrations = std::to_array<const char*>({
    R"sql(
CREATE TABLE meta (
  name TEXT PRIMARY KEY,
  value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO meta VALUES ('highest_id', 0);

CREATE TABLE users (
  id INTEGER PRIMARY KEY,
  username TEXT NOT NULL,
  username_folded TEXT NOT NULL UNIQUE,
  display_name TEXT NOT NULL,
  avatar_url TEXT NOT NULL,
  bio TEXT NOT NULL,
  email TEXT NOT NULL,
  role INTEGER NOT NULL CHECK (role BETWEEN 0 AND 2),
  guest INTEGER NOT NULL,
  banned INTEGER NOT NULL,
  password_hash TEXT NOT NULL,
  created_ms INTEGER NOT NULL,
  updated_ms INTEGER NOT NULL,
  last_seen_ms INTEGER NOT NULL
) STRICT;

-- The number that the next guest who asks for a taken name is tried with.
CREATE TABLE guest_names (
  folded TEXT PRIMARY KEY,
  next INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE sessions (
  id INTEGER PRIMARY KEY,
  user_id INTEGER NOT NULL REFERENCES users ON DELETE CASCADE,
  generation INTEGER NOT NULL,
  rotated_ms INTEGER NOT NULL,
  created_ms INTEGER NOT NULL,
  last_used_ms INTEGER NOT NULL,
  expires_ms INTEGER NOT NULL,
  user_agent TEXT NOT NULL,
  address TEXT NOT NULL
) STRICT;
CREATE INDEX sessions_by_user ON sessions (user_id);
CREATE INDEX sessions_by_expiry ON sessions (expires_ms);

CREATE TABLE rooms (
  id INTEGER PRIMARY KEY,
  type INTEGER NOT NULL CHECK (type BETWEEN 0 AND 2),
  name TEXT NOT NULL,
  name_folded TEXT,  -- of public rooms alone
  direct_key TEXT,   -- of direct rooms alone
  description TEXT NOT NULL,
  avatar_url TEXT NOT NULL,
  private INTEGER NOT NULL,
  ephemeral INTEGER NOT NULL,
  created_by INTEGER REFERENCES users,
  created_ms INTEGER NOT NULL,
  updated_ms INTEGER NOT NULL,
  deleted_ms INTEGER NOT NULL DEFAULT 0,
  epoch INTEGER NOT NULL DEFAULT 1,
  last_seq INTEGER NOT NULL DEFAULT 0,
  ingested_seq INTEGER NOT NULL DEFAULT 0,  -- all events up to it are here
  message_count INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE UNIQUE INDEX rooms_by_name ON rooms (name_folded) WHERE name_folded IS NOT NULL;
CREATE UNIQUE INDEX rooms_by_pair ON rooms (direct_key) WHERE direct_key IS NOT NULL;
CREATE INDEX rooms_public ON rooms (id) WHERE name_folded IS NOT NULL;
CREATE INDEX rooms_by_maker ON rooms (created_by) WHERE created_by IS NOT NULL;
INSERT INTO rooms (id, type, name, name_folded, description, avatar_url, private, ephemeral, created_ms, updated_ms)
  VALUES (1, 1, 'lobby', 'lobby', '', '', 0, 0, 0, 0);

CREATE TABLE members (
  room_id INTEGER NOT NULL REFERENCES rooms,
  user_id INTEGER NOT NULL REFERENCES users,
  role INTEGER NOT NULL CHECK (role BETWEEN 0 AND 2),
  joined_ms INTEGER NOT NULL,
  read_seq INTEGER NOT NULL,
  read_count INTEGER NOT NULL,
  delivered_seq INTEGER NOT NULL,
  PRIMARY KEY (room_id, user_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX members_by_user ON members (user_id);

-- What message_created said; its event is made of it again when it is asked for.
CREATE TABLE messages (
  room_id INTEGER NOT NULL REFERENCES rooms,
  seq INTEGER NOT NULL,
  id INTEGER NOT NULL,
  sender_id INTEGER NOT NULL REFERENCES users,
  client_id TEXT,
  type TEXT NOT NULL,
  text TEXT NOT NULL,
  reply_to INTEGER,
  mentions TEXT,  -- JSON: [1,2]
  extra TEXT,     -- JSON
  created_ms INTEGER NOT NULL,
  edited_ms INTEGER NOT NULL DEFAULT 0,
  deleted_ms INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (room_id, seq)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX messages_by_id ON messages (id);
CREATE UNIQUE INDEX messages_by_client_id ON messages (room_id, sender_id, client_id) WHERE client_id IS NOT NULL;

-- All other events, and those that messages refused: with `messages`, every seq of a room.
CREATE TABLE room_events (
  room_id INTEGER NOT NULL REFERENCES rooms,
  seq INTEGER NOT NULL,
  kind INTEGER NOT NULL,
  body TEXT NOT NULL,
  PRIMARY KEY (room_id, seq)
) STRICT, WITHOUT ROWID;

-- Sends to ephemeral rooms, without what was said; for a day.
CREATE TABLE ephemeral_sends (
  room_id INTEGER NOT NULL REFERENCES rooms,
  sender_id INTEGER NOT NULL REFERENCES users,
  client_id TEXT NOT NULL,
  seq INTEGER NOT NULL,
  id INTEGER NOT NULL,
  created_ms INTEGER NOT NULL,
  PRIMARY KEY (room_id, sender_id, client_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX ephemeral_sends_by_time ON ephemeral_sends (created_ms);

-- What an event should have done here and could not, with the reason.
CREATE TABLE dead_letters (
  room_id INTEGER NOT NULL,
  seq INTEGER NOT NULL,
  id INTEGER NOT NULL,
  kind INTEGER NOT NULL,
  actor_id INTEGER NOT NULL,
  at_ms INTEGER NOT NULL,
  refused_ms INTEGER NOT NULL,
  body TEXT NOT NULL,
  reason TEXT NOT NULL,
  PRIMARY KEY (room_id, seq, id)
) STRICT, WITHOUT ROWID;
)sql",
    R"sql(
-- Whether a message of the user is here, or was: such a guest is never removed.
ALTER TABLE users ADD COLUMN wrote INTEGER NOT NULL DEFAULT 0;
UPDATE users SET wrote = 1 WHERE id IN (SELECT sender_id FROM messages UNION SELECT sender_id FROM ephemeral_sends);
CREATE INDEX users_may_go ON users (created_ms) WHERE guest = 1 AND wrote = 0;
)sql",
    R"sql(
-- The words of messages, by the message's id, for search (sqlite_search.cpp): no content, no positions, only which message has which word. Beside the words
-- stand where and by whom it was said. The words are split and folded before they come here: all that this tokenizer does is to cut at the spaces.
CREATE VIRTUAL TABLE message_texts USING fts5(words, content = '', columnsize = 0, detail = none, tokenize = "ascii tokenchars ':'");

-- What is to be taken in there.
CREATE TABLE text_queue (
  id INTEGER PRIMARY KEY,
  room_id INTEGER NOT NULL,
  first_seq INTEGER NOT NULL,
  last_seq INTEGER NOT NULL,
  messages INTEGER NOT NULL  -- among them
) STRICT;
INSERT INTO text_queue (room_id, first_seq, last_seq, messages)
  SELECT id, 1, ingested_seq, message_count FROM rooms WHERE ephemeral = 0 AND message_count > 0;
)sql",
    R"sql(
-- What became of the users and rooms that the command import took in, so that none is taken twice. (Messages are known again by their client_id.)
CREATE TABLE imported (
  kind INTEGER NOT NULL,  -- 0: a user, 1: a room
  old_id TEXT NOT NULL,
  new_id INTEGER NOT NULL,
  PRIMARY KEY (kind, old_id)
) STRICT, WITHOUT ROWID;
)sql",
    R"sql(
-- What is known of a file; its bytes are elsewhere. States are chat::FileState's numbers.
CREATE TABLE files (
  id INTEGER PRIMARY KEY,
  owner_id INTEGER NOT NULL REFERENCES users,
  room_id INTEGER REFERENCES rooms,  -- whose members may read it
  name TEXT NOT NULL,
  mime_type TEXT NOT NULL,
  size INTEGER NOT NULL,
  state INTEGER NOT NULL CHECK (state BETWEEN 0 AND 2),
  sent INTEGER NOT NULL DEFAULT 0,  -- a message may name it
  open INTEGER NOT NULL DEFAULT 0,  -- everybody may read it: somebody's avatar
  created_ms INTEGER NOT NULL,
  expires_ms INTEGER NOT NULL  -- when its bytes are to be removed
) STRICT;
CREATE INDEX files_by_owner ON files (owner_id, id);
CREATE INDEX files_waiting ON files (owner_id) WHERE state = 0;
CREATE INDEX files_by_room ON files (room_id, id) WHERE room_id IS NOT NULL;
CREATE INDEX files_by_expiry ON files (expires_ms) WHERE expires_ms > 0;

ALTER TABLE messages ADD COLUMN file_id INTEGER;
)sql",
});

}  // namespace ringline::backend

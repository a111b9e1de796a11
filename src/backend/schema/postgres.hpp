// The schema of the PostgreSQL store, as the steps that lead to it. A step that was released is never changed: the next one changes what it made, so that
// the version before goes on working beside it; where that cannot be, `kPostgresOldest` says which is the first that may.
//
// As SQLite's (sqlite.hpp): ids are 63-bit numbers, times milliseconds since 1970, 0 for never, truth values 0 and 1. Messages are in partitions by their
// ids, which are in order of time: postgres_open.cpp makes those of the months to come, and what is older than it is to be kept goes a partition at a time.
#pragma once

#include <array>

namespace ringline::backend {

inline constexpr unsigned kPostgresOldest = 1;

// All messages that there are into text_queue, newest last, as many to a batch as are fed at once. Used where text_queue is made, and after a copy.
#define RINGLINE_QUEUE_ALL_TEXTS                                                                                       \
  "INSERT INTO text_queue (rooms, first_seqs, last_seqs, first_id, last_id, messages)"                                 \
  " SELECT array_agg(room_id), array_agg(first_seq), array_agg(last_seq), min(first_id), max(last_id), sum(messages)"  \
  " FROM (SELECT part, room_id, min(seq) AS first_seq, max(seq) AS last_seq, min(id) AS first_id, max(id) AS last_id," \
  " count(*) AS messages FROM (SELECT room_id, seq, id, (row_number() OVER (ORDER BY id) - 1) / 4096 AS part"          \
  " FROM messages WHERE deleted_ms = 0) AS numbered GROUP BY part, room_id) AS parts GROUP BY part ORDER BY part;"

inline constexpr auto kPostgresMigrations = std::to_array<const char*>({
    R"sql(
CREATE TABLE meta (
  name text PRIMARY KEY,
  value bigint NOT NULL
);
INSERT INTO meta VALUES ('highest_id', 0), ('schema', 0), ('oldest', 0);

-- Who may write here, and until when, by this server's clock.
CREATE TABLE leases (
  name text PRIMARY KEY,
  holder text NOT NULL,
  until_ms bigint NOT NULL
);

CREATE TABLE users (
  id bigint PRIMARY KEY,
  username text NOT NULL,
  username_folded text COLLATE "C" NOT NULL UNIQUE,
  display_name text NOT NULL,
  avatar_url text NOT NULL,
  bio text NOT NULL,
  email text NOT NULL,
  role smallint NOT NULL CHECK (role BETWEEN 0 AND 2),
  guest smallint NOT NULL,
  banned smallint NOT NULL,
  password_hash text NOT NULL,
  created_ms bigint NOT NULL,
  updated_ms bigint NOT NULL,
  last_seen_ms bigint NOT NULL,
  wrote smallint NOT NULL DEFAULT 0  -- a message of his is here, or was: such a guest is never removed
);
CREATE INDEX users_may_go ON users (created_ms) WHERE guest = 1 AND wrote = 0;

-- The number that the next guest who asks for a taken name is tried with.
CREATE TABLE guest_names (
  folded text COLLATE "C" PRIMARY KEY,
  next bigint NOT NULL
);

CREATE TABLE sessions (
  id bigint PRIMARY KEY,
  user_id bigint NOT NULL REFERENCES users ON DELETE CASCADE,
  generation bigint NOT NULL,
  rotated_ms bigint NOT NULL,
  created_ms bigint NOT NULL,
  last_used_ms bigint NOT NULL,
  expires_ms bigint NOT NULL,
  user_agent text NOT NULL,
  address text NOT NULL
);
CREATE INDEX sessions_by_user ON sessions (user_id);
CREATE INDEX sessions_by_expiry ON sessions (expires_ms);

CREATE TABLE rooms (
  id bigint PRIMARY KEY,
  type smallint NOT NULL CHECK (type BETWEEN 0 AND 2),
  name text NOT NULL,
  name_folded text COLLATE "C",  -- of public rooms alone
  direct_key text COLLATE "C",   -- of direct rooms alone
  description text NOT NULL,
  avatar_url text NOT NULL,
  private smallint NOT NULL,
  ephemeral smallint NOT NULL,
  created_by bigint REFERENCES users,
  created_ms bigint NOT NULL,
  updated_ms bigint NOT NULL,
  deleted_ms bigint NOT NULL DEFAULT 0,
  epoch bigint NOT NULL DEFAULT 1,
  last_seq bigint NOT NULL DEFAULT 0,
  ingested_seq bigint NOT NULL DEFAULT 0,  -- all events up to it are here
  message_count bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 80);
CREATE UNIQUE INDEX rooms_by_name ON rooms (name_folded) WHERE name_folded IS NOT NULL;
CREATE UNIQUE INDEX rooms_by_pair ON rooms (direct_key) WHERE direct_key IS NOT NULL;
CREATE INDEX rooms_public ON rooms (id) WHERE name_folded IS NOT NULL;
CREATE INDEX rooms_by_maker ON rooms (created_by) WHERE created_by IS NOT NULL;
INSERT INTO rooms (id, type, name, name_folded, description, avatar_url, private, ephemeral, created_ms, updated_ms)
  SELECT 1, 1, 'lobby', 'lobby', '', '', 0, 0, now, now FROM (SELECT (extract(epoch FROM now()) * 1000)::bigint AS now) AS clock;

CREATE TABLE members (
  room_id bigint NOT NULL REFERENCES rooms,
  user_id bigint NOT NULL REFERENCES users,
  role smallint NOT NULL CHECK (role BETWEEN 0 AND 2),
  joined_ms bigint NOT NULL,
  read_seq bigint NOT NULL,
  read_count bigint NOT NULL,
  delivered_seq bigint NOT NULL,
  PRIMARY KEY (room_id, user_id)
);
CREATE INDEX members_by_user ON members (user_id);

-- What message_created said; its event is made of it again when it is asked for. That a clientId is used once is seen to by the room's home and, at ingest,
-- by a look into messages_by_client_id: a unique index would have to hold the id too.
CREATE TABLE messages (
  room_id bigint NOT NULL REFERENCES rooms,
  seq bigint NOT NULL,
  id bigint NOT NULL,
  sender_id bigint NOT NULL REFERENCES users,
  client_id text COLLATE "C",
  type text NOT NULL,
  text text NOT NULL,
  reply_to bigint,
  mentions text,  -- JSON: [1,2]
  extra text,     -- JSON
  created_ms bigint NOT NULL,
  edited_ms bigint NOT NULL DEFAULT 0,
  deleted_ms bigint NOT NULL DEFAULT 0,
  PRIMARY KEY (room_id, seq, id)
) PARTITION BY RANGE (id);
CREATE INDEX messages_by_id ON messages (id);
CREATE INDEX messages_by_client_id ON messages (sender_id, room_id, client_id);
CREATE TABLE messages_other PARTITION OF messages DEFAULT;

-- All other events, and those that messages refused: with `messages`, every seq of a room.
CREATE TABLE room_events (
  room_id bigint NOT NULL REFERENCES rooms,
  seq bigint NOT NULL,
  kind smallint NOT NULL,
  body text NOT NULL,
  PRIMARY KEY (room_id, seq)
);

-- Sends to ephemeral rooms, without what was said; for a day.
CREATE TABLE ephemeral_sends (
  room_id bigint NOT NULL REFERENCES rooms,
  sender_id bigint NOT NULL REFERENCES users,
  client_id text COLLATE "C" NOT NULL,
  seq bigint NOT NULL,
  id bigint NOT NULL,
  created_ms bigint NOT NULL,
  PRIMARY KEY (sender_id, room_id, client_id)
);
CREATE INDEX ephemeral_sends_by_time ON ephemeral_sends (created_ms);
CREATE INDEX ephemeral_sends_by_room ON ephemeral_sends (room_id, seq);

-- What an event should have done here and could not, with the reason.
CREATE TABLE dead_letters (
  room_id bigint NOT NULL,
  seq bigint NOT NULL,
  id bigint NOT NULL,
  kind smallint NOT NULL,
  actor_id bigint NOT NULL,
  at_ms bigint NOT NULL,
  refused_ms bigint NOT NULL,
  body text NOT NULL,
  reason text NOT NULL,
  PRIMARY KEY (room_id, seq, id)
);
)sql",
    R"sql(
-- The words of messages, for search (postgres_search.cpp): numbered by `place` in the order in which they were taken in, without a gap, so newer messages
-- have higher places; in partitions of 2^22 places. Beside the words stand where and by whom it was said, and the ranges of places that it is in. There is
-- no index by place on purpose: with one the planner may walk it, which for a rare word is all of it. A cleaned pending list of some hundred messages is
-- what GIN takes in at once; searching reads it from end to end, so it is short.
CREATE TABLE message_texts (
  place bigint NOT NULL,
  room_id bigint NOT NULL,
  seq bigint NOT NULL,
  id bigint NOT NULL,
  words tsvector NOT NULL
) PARTITION BY RANGE (place);
CREATE INDEX message_texts_words ON message_texts USING gin (words) WITH (fastupdate = on, gin_pending_list_limit = 256);
INSERT INTO meta VALUES ('text_places', 0);

-- What is to be taken in there: of each batch of events, its rooms, the seqs of each, and between which ids its messages are.
CREATE TABLE text_queue (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  rooms bigint[] NOT NULL,
  first_seqs bigint[] NOT NULL,
  last_seqs bigint[] NOT NULL,
  first_id bigint NOT NULL,
  last_id bigint NOT NULL,
  messages bigint NOT NULL
);
)sql" RINGLINE_QUEUE_ALL_TEXTS,
    R"sql(
-- What became of the users and rooms that the command import took in, so that none is taken twice. (Messages are known again by their client_id.)
CREATE TABLE imported (
  kind smallint NOT NULL,  -- 0: a user, 1: a room
  old_id text COLLATE "C" NOT NULL,
  new_id bigint NOT NULL,
  PRIMARY KEY (kind, old_id)
);
)sql",
    R"sql(
-- What is known of a file; its bytes are elsewhere. States are chat::FileState's numbers.
CREATE TABLE files (
  id bigint PRIMARY KEY,
  owner_id bigint NOT NULL REFERENCES users,
  room_id bigint REFERENCES rooms,  -- whose members may read it
  name text NOT NULL,
  mime_type text NOT NULL,
  size bigint NOT NULL,
  state smallint NOT NULL CHECK (state BETWEEN 0 AND 2),
  sent smallint NOT NULL DEFAULT 0,  -- a message may name it
  open smallint NOT NULL DEFAULT 0,  -- everybody may read it: somebody's avatar
  created_ms bigint NOT NULL,
  expires_ms bigint NOT NULL  -- when its bytes are to be removed
);
CREATE INDEX files_by_owner ON files (owner_id, id);
CREATE INDEX files_waiting ON files (owner_id) WHERE state = 0;
CREATE INDEX files_by_room ON files (room_id, id) WHERE room_id IS NOT NULL;
CREATE INDEX files_by_expiry ON files (expires_ms) WHERE expires_ms > 0;

ALTER TABLE messages ADD COLUMN file_id bigint;
)sql",
});

}  // namespace ringline::backend

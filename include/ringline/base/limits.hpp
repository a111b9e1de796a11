// Every bound by its name. What an operator may change is in Settings with these as defaults.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>

namespace ringline::base::limits {

using namespace std::chrono_literals;

// Messages and names, in Unicode code points where not said otherwise.
inline constexpr std::size_t kTextPoints = 4000;
inline constexpr std::size_t kNamePoints = 64;
inline constexpr std::size_t kDescriptionPoints = 500;
inline constexpr std::size_t kClientIdBytes = 64;
inline constexpr std::size_t kExtraBytes = 1024;
inline constexpr std::size_t kMentions = 50;
inline constexpr std::size_t kPasswordBytesMin = 8;
inline constexpr std::size_t kPasswordBytesMax = 72;  // bcrypt reads no further
inline constexpr std::size_t kRequestIdBytes = 64;

// One connection.
inline constexpr std::size_t kFrameBytes = 64 * 1024;            // a WebSocket message on /ws
inline constexpr std::size_t kSocketIoPayloadBytes = 1'000'000;  // Engine.IO maxPayload
inline constexpr std::size_t kSendQueueBytes = 1024 * 1024;      // room events above it give way to a cursor
inline constexpr std::size_t kReplyQueueBytes = 256 * 1024;      // replies above it stop reading from the connection
inline constexpr std::size_t kKernelUnsentBytes = 128 * 1024;    // TCP_NOTSENT_LOWAT
inline constexpr std::size_t kSendPieces = 16;                   // iovecs of one send
inline constexpr std::size_t kConnectionsPerUser = 20;
inline constexpr std::size_t kCommandsInFlight =
    8;  // of one connection; more stop reading from it. Each may bring a page of history
inline constexpr auto kConnectTimeout = 10s;  // upgrade to `connect`
inline constexpr auto kPingInterval = 25s;
inline constexpr auto kPingTimeout = 20s;
inline constexpr auto kStalledSendTimeout = 30s;  // a reader that takes nothing for so long is closed

// HTTP.
inline constexpr std::size_t kHttpHeadBytes = 16 * 1024;
inline constexpr std::size_t kHttpBodyBytes = 64 * 1024;
inline constexpr auto kHttpHeadTimeout = 10s;
inline constexpr auto kHttpBodyTimeout = 20s;
inline constexpr auto kHttpIdleTimeout = 75s;

// One core.
inline constexpr unsigned kRingEntries = 4096;
inline constexpr unsigned kReceiveBuffers = 1024;  // provided to the kernel; a power of two
inline constexpr std::size_t kReceiveBufferBytes = 4096;
inline constexpr unsigned kDrainRounds = 4;          // kernel entries before the flush (measured: see loop/loop.hpp)
inline constexpr unsigned kDrainEnough = 8;          // fewer completions than this end the draining
inline constexpr std::size_t kMailboxSlots = 4096;   // of each core-to-core queue
inline constexpr std::size_t kMailboxStash = 65536;  // what waits for a slot; above it commands are `unavailable`
inline constexpr std::size_t kWorkerJobs = 4096;

// Rooms.
inline constexpr std::size_t kTailEvents = 1000;  // at hand for resume, or
inline constexpr auto kTailAge = 5min;            // whichever is more; none of a room that was quiet for so long
// With more than so much in the tails of a core, or half of their bound, each keeps only its last few: memory that is taken anew all the time costs more
// than reading what somebody asks for from the store.
inline constexpr std::size_t kTailBytesTight = 128 * 1024 * 1024;
inline constexpr std::size_t kTailEventsTight = 64;
// The tails of all cores take a quarter of memory at most, each core's at least so much; above it sends are `unavailable`.
inline constexpr std::size_t kTailMemoryShare = 4;
inline constexpr std::size_t kTailBytesMin = 64 * 1024 * 1024;
inline constexpr std::size_t kResumeEvents = 10'000;
inline constexpr std::size_t kFeedEvents = 256;        // read from the log at once for one connection
inline constexpr std::size_t kFeedBytes = 256 * 1024;  // likewise
inline constexpr auto kFlushPace = 400us;              // for each member: see chat/delivery.hpp
inline constexpr auto kFlushWait = 40ms;  // a busy room's events wait no longer than this to be sent together
inline constexpr std::size_t kFlushBytes = 64 * 1024;  // and not at all above this
inline constexpr std::size_t kTurnBytes =
    2 * 1024 * 1024;  // to all members, in one turn; more rooms than that wait for the next
inline constexpr std::size_t kJoinMessages = 50;
inline constexpr std::size_t kJoinMembers = 100;
inline constexpr std::size_t kReadyRooms = 500;
inline constexpr std::size_t kPageDefault = 50;
inline constexpr std::size_t kPageMax = 100;
inline constexpr std::size_t kPresenceRoomMembers = 1000;
inline constexpr std::size_t kMissedStates = 1000;   // presence kept for a slow reader; above it all is asked for again
inline constexpr std::size_t kRoomsMadeByJoin = 10;  // of one user, by CREATE_ON_JOIN
inline constexpr std::size_t kRoomCallsWaiting = 1024;  // for a room that is being loaded
inline constexpr auto kTypingAge = 5s;

// Search.
inline constexpr std::size_t kSearchPoints = 200;  // of a query
inline constexpr std::size_t kSearchWords = 8;     // of it

// Several hosts.
inline constexpr std::chrono::milliseconds kBusTimeout = 500ms;  // of a call; then a message is pending
inline constexpr std::chrono::milliseconds kIngestLease = 15s;  // of the host that takes a room's events into the store
inline constexpr std::chrono::milliseconds kIngestClaim = 5s;   // it is renewed so often
inline constexpr std::size_t kStreamEvents = 1000;              // of a room, those that the store has among them
inline constexpr auto kStreamAge = 10min;      // a room that nothing happened in for so long has no stream
inline constexpr auto kPresenceAge = 5min;     // of a user at a host that does not say it again
inline constexpr auto kMembershipAge = 10min;  // that the store may not know of
inline constexpr std::chrono::milliseconds kRedisHostEvery = 2s;  // a host says that it is alive
inline constexpr std::chrono::milliseconds kRedisHostLease = 15s;
inline constexpr std::chrono::milliseconds kRedisHostAsk = 200ms;  // whether all others have put back
inline constexpr std::chrono::milliseconds kReplicaWait =
    100ms;  // for replicas to have what is to be acked; then it is pending
inline constexpr std::chrono::milliseconds kReplicaPause = 1s;  // until they are asked again, where they had it not
inline constexpr unsigned kReplicaWaits =
    8;  // of a core at a time: meanwhile Redis answers nothing else on the connection

// PostgreSQL.
inline constexpr unsigned kPostgresConnections = 8;
inline constexpr unsigned kPostgresReplicaConnections = 4;
inline constexpr std::chrono::milliseconds kPostgresLease = 30s;  // of a host that is not heard of
inline constexpr auto kHostNumberRest = 60min;  // before another host gets the number of one that was not heard of
// What no standby is known to have stays in the journal so long: one may take over.
inline constexpr std::chrono::milliseconds kPostgresUnsafe = 10min;

// Files. A transfer is one upload or download through this server.
inline constexpr std::size_t kFileBytes = 100 * 1024 * 1024;
inline constexpr std::size_t kAvatarBytes = 5 * 1024 * 1024;
inline constexpr std::size_t kFileNamePoints = 255;
inline constexpr std::size_t kMimeTypeBytes = 127;
inline constexpr std::size_t kUploadsWaiting = 100;  // of a user: begun and not completed
inline constexpr auto kUploadAge = 24h;              // of one that is not completed
inline constexpr auto kUploadLinkAge = 1h;
inline constexpr auto kGuestFileAge = 24h;
inline constexpr auto kFileLinkAge = 24h;
inline constexpr std::size_t kTransfers = 256;
inline constexpr std::size_t kTransfersPerUser = 64;
inline constexpr std::size_t kTransferBytes = 64 * 1024;  // in memory of each, beside what the kernel and libcurl hold
inline constexpr std::uint64_t kTransferPace = 2 * 1024;  // bytes a second, at least, from a client that uploads
inline constexpr auto kTransferGrace =
    30s;  // before the pace is looked at; a client that does nothing for so long is cut
inline constexpr std::uint64_t kPartBytes = 16 * 1024 * 1024;         // of an upload to S3 in parts
inline constexpr std::uint64_t kFolderFreeBytes = 256 * 1024 * 1024;  // left free by uploads, for journal and database

// Redis. Each core has its own client.
inline constexpr std::chrono::milliseconds kRedisTimeout = 500ms;  // of a command, where its caller says nothing else
inline constexpr std::chrono::milliseconds kRedisConnectTimeout = 2s;  // to a server: looked up, connected, signed in
inline constexpr std::chrono::milliseconds kRedisPrepareTimeout = 5s;  // of each command that makes a server ready
inline constexpr std::chrono::milliseconds kRedisPingInterval = 2s;    // on a connection where nothing is asked
inline constexpr std::chrono::milliseconds kRedisSilence = 5s;       // a server that owes an answer for so long is lost
inline constexpr std::chrono::milliseconds kRedisBackoffMin = 50ms;  // between two tries to connect
inline constexpr std::chrono::milliseconds kRedisBackoffMax = 5s;
inline constexpr std::chrono::milliseconds kRedisSlotsInterval =
    30s;  // a cluster is asked who has which slots, at the latest
inline constexpr std::chrono::milliseconds kRedisSlotsPause = 100ms;  // and not more often than this
inline constexpr std::chrono::milliseconds kRedisStartWait = 10s;
inline constexpr std::size_t kRedisCalls = 65'536;                 // without an answer, of one connection
inline constexpr std::size_t kRedisQueueBytes = 16 * 1024 * 1024;  // their bytes
inline constexpr std::size_t kRedisReplyBytes = 16 * 1024 * 1024;  // a reply; a server that sends more is lost
inline constexpr std::size_t kRedisReplyElements = 1024 * 1024;    // likewise, of all its arrays
inline constexpr std::size_t kRedisPayloadBytes = 1024 * 1024;     // published; a larger one is not given on
inline constexpr std::size_t kRedisChannels = 1'000'000;           // subscribed to, of one core: some 200 bytes each
inline constexpr std::size_t kRedisChannelBytes = 256;             // a channel's name
inline constexpr std::size_t kRedisSubscribesInFlight = 4096;      // channels that wait to be confirmed, of one server
inline constexpr unsigned kRedisRedirects = 5;                     // of one command, from server to server of a cluster
inline constexpr std::size_t kRedisServers = 1024;                 // of a cluster

// What Redis keeps of the database's answers, for when that is away. Each core has bounds of its own.
inline constexpr std::chrono::milliseconds kCachedAccountAge = 1h;
inline constexpr std::chrono::milliseconds kCachedRoomsAge = 5min;  // a user's, and lists of public ones
inline constexpr std::chrono::milliseconds kCachedHistoryAge = 1min;
inline constexpr std::chrono::milliseconds kCachedSearchAge = 5min;
inline constexpr std::chrono::milliseconds kCachePatience = 2s;  // with the database, where Redis may have the answer
inline constexpr std::chrono::milliseconds kCachePause = 1s;     // and then none, for so long
inline constexpr std::chrono::milliseconds kCacheFresh = 1s;     // an answer that took longer is not kept, so that
inline constexpr std::chrono::milliseconds kCacheSettle = 3s;    // so long after a change none is on its way
inline constexpr std::chrono::milliseconds kCacheAgain = 5s;     // what was kept is not sent again before
inline constexpr std::size_t kCacheRecent = 1024;                // keys that this is known of
inline constexpr std::size_t kCacheWrites = 1024;  // under way; changes may be as many again, more is not kept
inline constexpr std::size_t kCacheValueBytes = 128 * 1024;
inline constexpr std::size_t kCachePageBytes = 8 * 1024 * 1024;  // of pages and lists, in a minute

// Journal.
inline constexpr std::size_t kJournalSegmentBytes = 64 * 1024 * 1024;
inline constexpr std::size_t kJournalBatchBytes =
    4 * 1024 * 1024;  // waiting for one commit; above it sends are `unavailable`
inline constexpr std::size_t kJournalRecordBytes = 256 * 1024;
// From commit to commit, where one had several records: a millisecond for each so many, at least one.
inline constexpr std::uint32_t kCommitRecords = 32;
inline constexpr std::chrono::milliseconds kCommitPaceMax = 5ms;

// Waits of what is off the hot path.
inline constexpr auto kStoreTimeout = 10s;
inline constexpr std::chrono::milliseconds kPostgresStartWait = 30s;
inline constexpr std::chrono::milliseconds kS3ConnectTimeout = 3s;
inline constexpr std::chrono::milliseconds kS3Timeout =
    10s;  // without a byte either way; six times as long where S3 copies
inline constexpr std::chrono::milliseconds kBlobTimeout =
    5min;                               // a call about a file's bytes, all of which it may read
inline constexpr auto kDrainTime = 5s;  // SIGTERM to exit

}  // namespace ringline::base::limits

// What Redis does for a room, in one round trip each (Redis 7 functions: redis.io, "Redis functions"). Loaded by the client, see redis.hpp.
//
//   room:{ID}:state  hash    epoch, seq and id of the last event; trimmed, trimmedId: of the last that is not in the log; all: seq of the last change of what
//                            anybody may do; stored, storedId: up to where the database has it, of this epoch; ingester, until: who takes it in there; idle: it expires
//   room:{ID}:log    stream  the recent events: entry SEQ-0, field e
//   room:{ID}:keys   hash    of events in the log: the key of each -> "SEQ:ID"; "@USER" -> the seq of the last change of his membership
//   user:{ID}:online hash    host -> until when he counts as online there
//   user:{ID}:sends  zset    when he sent, while he is at several hosts
//   user:{ID}:rooms  hash    rooms that he joined (1) or left (0) lately: the database may not know it yet; and "ROOM:read": "EPOCH SEQ COUNT", how far he has
//                            read there
//
// An entry: "KIND ID EPOCH AT ACTOR SUBJECT CLIENTKEY KEY\n" and the event's body. What is told on chat:{ID} is "E SEQ " and the entry.
//
// `ready`, and who has put back, live in the library's own memory, not in the data: they end with the process, as what it had not written to disk does, and a
// replica that takes over has its own. Until every live host has put back what it has nothing new is taken. A reign is what a server is called from when it
// is first asked to when it ends, or is demoted: one that was a master before, and a replica since, begins another. Hosts say of which reigns they know.
// Ids have 63 bits, more than a number of Lua's keeps: they stay text. Seqs are below 2^53.
#pragma once

#include <string_view>

namespace ringline::backend {

inline constexpr std::string_view kRedisFunctions = R"lua(#!lua name=ringline
local reign = nil         -- its name
local replication = nil   -- what the server called its data then: a replica that becomes the master gives them another name
local ready = false
local began = nil         -- of the putting back, in ms
local done = {}           -- "HOST:CORE" -> true
local wanted = {}         -- likewise, who is waited for

local kTrimAtOnce = 500
local kPageBytes = 4 * 1024 * 1024

local function now_ms()
  local t = redis.call('TIME')
  return tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000)
end

local function text(number) return string.format('%.0f', number) end

local function load(key)
  local s = redis.call('HMGET', key, 'epoch', 'seq', 'id', 'trimmed', 'trimmedId', 'all', 'idle')
  return {there = s[2] and true or false, epoch = tonumber(s[1]) or 0, seq = tonumber(s[2]) or 0, id = s[3] or '0',
          trimmed = tonumber(s[4]) or 0, trimmed_id = s[5] or '0', all = tonumber(s[6]) or 0, idle = s[7]}
end

-- kind, id, epoch, actor, subject, key of an entry
local function head_of(entry)
  return string.match(entry, '^(%d+) (%d+) (%d+) %d+ (%d+) (%d+) %d+ ([^\n]*)\n')
end

local function id_at(keys, s, seq)
  if seq == s.seq then return s.id end
  if seq == s.trimmed then return s.trimmed_id end
  if seq < s.trimmed or seq > s.seq or seq == 0 then return '0' end
  local found = redis.call('XRANGE', keys[2], text(seq) .. '-0', text(seq) .. '-0')
  if not found[1] then return '0' end
  local _, id = head_of(found[1][2][2])
  return id
end

local function of_all(kind) return kind == '16' or kind == '17' or kind == '18' end

-- Writes an entry behind the last one.
local function add(keys, s, entry)
  local kind, id, _, _, subject, key = head_of(entry)
  s.seq = s.seq + 1
  s.id = id
  redis.call('XADD', keys[2], text(s.seq) .. '-0', 'e', entry)
  if subject == '0' then
    redis.call('HSET', keys[3], key, text(s.seq) .. ':' .. id)
  else
    redis.call('HSET', keys[3], key, text(s.seq) .. ':' .. id, '@' .. subject, text(s.seq))
  end
  if of_all(kind) then s.all = s.seq end
end

local function keep(keys, s)
  redis.call('HSET', keys[1], 'epoch', text(s.epoch), 'seq', text(s.seq), 'id', s.id, 'trimmed', text(s.trimmed),
             'trimmedId', s.trimmed_id, 'all', text(s.all))
end

-- Begins anew behind what the database has.
local function restart(keys, epoch, seq, id)
  redis.call('DEL', keys[2], keys[3])
  redis.call('HSET', keys[1], 'stored', text(seq), 'storedId', id)
  return {there = true, epoch = epoch, seq = seq, id = id, trimmed = seq, trimmed_id = id, all = 0}
end

-- A room of which the database has all is forgotten when nothing happens in it for so long.
local function expire_or_stay(keys, all_stored, seconds)
  if all_stored then
    redis.call('HSET', keys[1], 'idle', '1')
    for _, key in ipairs(keys) do redis.call('EXPIRE', key, seconds) end
  else
    for _, key in ipairs(keys) do redis.call('PERSIST', key) end
    redis.call('HDEL', keys[1], 'idle')
  end
end

local function verdict(kind, s) return {kind, text(s.seq), s.id, text(s.epoch)} end

-- What is in the way of a caller who is at that place.
local function obstacle(keys, s, epoch, seq, id)
  if s.there and s.epoch > epoch then return 'new_epoch' end
  if s.there and s.epoch < epoch then return 'old_epoch' end
  if s.seq < seq then return 'behind' end
  local there = id_at(keys, s, seq)
  if id ~= '0' and there ~= '0' and id ~= there then return 'differs' end
  if seq < s.trimmed then return 'gone' end
end

-- What becomes of the proposal from args[at] on, and where it stands.
local function append_one(keys, s, args, at)
  local known = redis.call('HMGET', keys[3], args[at], '@' .. args[at + 1], '@' .. args[at + 2])
  if known[1] then return 'duplicate', string.match(known[1], '(%d+):(%d+)') end
  if args[at + 3] ~= '1' then
    local changed = math.max(s.all, tonumber(known[2]) or 0, tonumber(known[3]) or 0)
    if changed > tonumber(args[2]) then return 'stale', text(s.seq), s.id end
  end
  local entry = args[at + 5]
  for i = at + 6, at + 4 + tonumber(args[at + 4]) do entry = entry .. text(s.seq + 1) .. args[i] end
  add(keys, s, entry)
  redis.call(args[4], args[5], 'E ' .. text(s.seq) .. ' ' .. entry)
  return 'taken', text(s.seq), s.id
end

-- KEYS state log keys; ARGV known epoch, seq and id; SPUBLISH or PUBLISH; channel; the reigns that the caller knows; and for each proposal key; actor;
-- subject; forced (1, 0); how many parts its entry has, and these, between which the seq belongs. Four for each verdict, up to the first that was in the way.
local function append(keys, args)
  if not ready or not string.find(args[6], reign, 1, true) then return {'unready', '0', '0', '0'} end
  local s = load(keys[1])
  local epoch = tonumber(args[1])
  local why = obstacle(keys, s, epoch, tonumber(args[2]), args[3])
  if why then return verdict(why, s) end
  if not s.there then s.epoch = epoch end
  local verdicts, before, at = {}, s.seq, 7
  while at <= #args do
    local kind, seq, id = append_one(keys, s, args, at)
    for _, said in ipairs({kind, seq, id, text(s.epoch)}) do verdicts[#verdicts + 1] = said end
    if kind == 'stale' then break end
    at = at + 5 + tonumber(args[at + 4])
  end
  if s.seq > before then
    keep(keys, s)
    if s.idle then expire_or_stay(keys, false) end
  end
  return verdicts
end

-- KEYS state log keys; ARGV after, count. The place, then seq and entry in turn.
local function read(keys, args)
  local s = load(keys[1])
  local page = verdict('page', s)
  local after, bytes = math.max(tonumber(args[1]), s.trimmed), 0
  for _, one in ipairs(redis.call('XRANGE', keys[2], text(after + 1) .. '-0', '+', 'COUNT', args[2])) do
    if bytes > kPageBytes then break end
    bytes = bytes + #one[2][2]
    page[#page + 1] = string.match(one[1], '^%d+')
    page[#page + 1] = one[2][2]
  end
  return page
end

-- KEYS states. seq, id and epoch of each in turn.
local function places(keys)
  local all = {}
  for _, key in ipairs(keys) do
    local s = load(key)
    all[#all + 1] = text(s.seq)
    all[#all + 1] = s.id
    all[#all + 1] = text(s.epoch)
  end
  return all
end

-- KEYS state log keys; ARGV seq and id of the end; epoch, seq and id of the base; seconds until a room that nothing happens in is forgotten; entries.
local function put_back(keys, args)
  local s = load(keys[1])
  local epoch, base = tonumber(args[3]), tonumber(args[4])
  if s.seq ~= tonumber(args[1]) or (s.there and s.epoch ~= epoch) then return 0 end
  if s.id ~= '0' and args[2] ~= '0' and s.id ~= args[2] then return 0 end
  local anew = not s.there or base > s.seq
  if anew then s = restart(keys, epoch, base, args[5]) end
  for i = 7, #args do add(keys, s, args[i]) end
  keep(keys, s)
  if anew or #args > 6 then expire_or_stay(keys, #args == 6, args[6]) end
  return 1
end

-- KEYS state log keys; ARGV epoch, seq and id; seconds as above.
local function begin_epoch(keys, args)
  local s = load(keys[1])
  if s.there and s.epoch >= tonumber(args[1]) then return 0 end
  s = restart(keys, tonumber(args[1]), tonumber(args[2]), args[3])
  s.all = s.seq
  keep(keys, s)
  expire_or_stay(keys, true, args[4])
  return 1
end

local function trim(keys, s, seq)
  local from, to = text(s.trimmed + 1) .. '-0', text(seq) .. '-0'
  for _, one in ipairs(redis.call('XRANGE', keys[2], from, to, 'COUNT', kTrimAtOnce)) do
    local _, id, _, _, subject, key = head_of(one[2][2])
    s.trimmed, s.trimmed_id = tonumber(string.match(one[1], '^%d+')), id
    redis.call('HDEL', keys[3], key)
    if subject ~= '0' and tonumber(redis.call('HGET', keys[3], '@' .. subject)) == s.trimmed then
      redis.call('HDEL', keys[3], '@' .. subject)
    end
  end
  redis.call('XTRIM', keys[2], 'MINID', text(s.trimmed + 1) .. '-0')
  redis.call('HSET', keys[1], 'trimmed', text(s.trimmed), 'trimmedId', s.trimmed_id)
end

-- KEYS state log keys of each room; ARGV how many events stay; seconds as above; and for each room seq, epoch and id of an event.
local function stored(keys, args)
  for room = 0, #keys / 3 - 1 do
    local its = {keys[room * 3 + 1], keys[room * 3 + 2], keys[room * 3 + 3]}
    local seq, epoch, id = tonumber(args[room * 3 + 3]), tonumber(args[room * 3 + 4]), args[room * 3 + 5]
    local s = load(its[1])
    if s.there and s.epoch == epoch and id ~= '0' and id_at(its, s, seq) == id then
      local before = tonumber(redis.call('HGET', its[1], 'stored')) or 0
      if seq > before then redis.call('HSET', its[1], 'stored', text(seq), 'storedId', id) end
      local upto = math.min(seq, s.seq - tonumber(args[1]))
      if upto > s.trimmed then trim(its, s, upto) end
      if seq == s.seq then expire_or_stay(its, true, args[2]) end
    end
  end
  return 'OK'
end

-- KEYS states; ARGV host, lease in ms. For each: whether it is his (1, 0), how far the room is stored, of which epoch that is (0: nothing was said), and the
-- id of the event there. Of a room without a stream there is nothing but who has it.
local function claim(keys, args)
  local now = now_ms()
  local all = {}
  for _, key in ipairs(keys) do
    local s = redis.call('HMGET', key, 'ingester', 'until', 'stored', 'seq', 'epoch', 'storedId')
    local ours = s[1] == args[1] or (tonumber(s[2]) or 0) < now
    if ours then redis.call('HSET', key, 'ingester', args[1], 'until', text(now + tonumber(args[2]))) end
    if ours and not s[4] then
      redis.call('HSET', key, 'idle', '1')
      redis.call('PEXPIRE', key, args[2])
    end
    all[#all + 1] = ours and 1 or 0
    all[#all + 1] = s[3] or '0'
    all[#all + 1] = s[3] and s[5] or '0'
    all[#all + 1] = s[6] or '0'
  end
  return all
end

-- Who is master here, and since when: where that has changed another reign begins.
local function look()
  local info = redis.pcall('INFO', 'replication')
  local found = type(info) == 'string' and string.match(info, 'master_replid:(%w+)') or ''
  if reign and found == replication then return end
  local t = redis.call('TIME')
  replication, reign = found, t[1] .. '.' .. t[2] .. '.' .. string.sub(found, 1, 4) .. ';'
  ready, began, done, wanted = false, nil, {}, {}
end

-- ARGV who ("HOST:CORE"), the reigns that he has put back in, how long to wait for others in ms, and who else is known. Whether new events are taken, and the
-- reign.
local function hello(_, args)
  look()
  if ready then return {'ready', reign} end
  began = began or now_ms()
  wanted[args[1]] = true
  for i = 4, #args do wanted[args[i]] = true end
  if string.find(args[2], reign, 1, true) then done[args[1]] = true end
  local patient = now_ms() - began < tonumber(args[3])
  for who in pairs(wanted) do
    if not done[who] and (patient or who == args[1]) then return {'unready', reign} end
  end
  ready = true
  return {'ready', reign}
end

-- Of a user, host -> until when he counts as online there, in ms: at how many hosts but this one.
local function others(key, host, now)
  local count = 0
  local all = redis.call('HGETALL', key)
  for i = 1, #all, 2 do
    if all[i] ~= host and tonumber(all[i + 1]) > now then count = count + 1 end
  end
  return count
end

-- KEYS online; ARGV host, online (1, 0), how long that counts in ms.
local function presence(keys, args)
  local now = now_ms()
  if args[2] == '1' then
    redis.call('HSET', keys[1], args[1], text(now + tonumber(args[3])))
    redis.call('PEXPIRE', keys[1], args[3])
  else
    redis.call('HDEL', keys[1], args[1])
  end
  return others(keys[1], args[1], now)
end

-- KEYS online, of each user; ARGV host.
local function presence_of(keys, args)
  local now = now_ms()
  local all = {}
  for i, key in ipairs(keys) do all[i] = others(key, args[1], now) end
  return all
end

-- KEYS sends; ARGV limit, window in ms, times that are to be counted too. 0: taken; otherwise how long to wait in ms.
local function send(keys, args)
  local now, limit, window = now_ms(), tonumber(args[1]), tonumber(args[2])
  local function count_in(at)
    redis.call('ZADD', keys[1], text(at), text(at) .. '-' .. redis.call('ZCARD', keys[1]))
  end
  redis.call('ZREMRANGEBYSCORE', keys[1], '-inf', text(now - window))
  for i = 3, #args do
    if tonumber(args[i]) > now - window then count_in(math.min(tonumber(args[i]), now)) end
  end
  local wait = 0
  local count = redis.call('ZCARD', keys[1])
  if count < limit then
    count_in(now)
  else
    local first = redis.call('ZRANGE', keys[1], count - limit, count - limit, 'WITHSCORES')
    wait = math.max(1, tonumber(first[2]) + window - now)
  end
  redis.call('PEXPIRE', keys[1], args[2])
  return wait
end

-- KEYS rooms; ARGV field, "EPOCH SEQ COUNT", how long all is kept in s.
local function note_mark(keys, args)
  local had_epoch, had_seq = string.match(redis.call('HGET', keys[1], args[1]) or '', '^(%d+) (%d+) ')
  local epoch, seq = string.match(args[2], '^(%d+) (%d+) ')
  had_epoch, had_seq, epoch, seq = tonumber(had_epoch or 0), tonumber(had_seq or 0), tonumber(epoch), tonumber(seq)
  if had_epoch > epoch or (had_epoch == epoch and had_seq >= seq) then return 0 end
  redis.call('HSET', keys[1], args[1], args[2])
  redis.call('EXPIRE', keys[1], args[3])
  return 1
end

-- Those that free memory, or take next to none, run also where there is none left.
local function register(name, callback, flags)
  redis.register_function{function_name = 'ringline_' .. name, callback = callback, flags = flags}
end
register('append', append, {})
register('read', read, {'allow-oom'})
register('places', places, {'allow-oom'})
register('put_back', put_back, {})
register('begin_epoch', begin_epoch, {})
register('stored', stored, {'allow-oom'})
register('claim', claim, {'allow-oom'})
register('hello', hello, {'allow-oom'})
register('presence', presence, {})
register('presence_of', presence_of, {'allow-oom'})
register('send', send, {})
register('note_mark', note_mark, {})
)lua";

}  // namespace ringline::backend

// What every script on records begins with: the server's clock, how a record's value is laid out, and its indexes.
//
// A record is one string, `PLACEr:ID`. Beside it, in the same slot of a cluster, are indexes of its place: `records` (a
// stream, in the order of claims), `expiry` (a sorted set by when to look whether it has expired), `accounts` (a hash of
// how many records each has), `unknown` (a sorted set of what is unknown) and `waiting` (a sorted set of what somebody
// waits for). The value alone decides; an index that lacks a record, as it may while slots are moved, is set right later.

/**
 * The first arguments of each: the prefix; the instant to judge by, in tests, or nothing; and where the script runs: `0`
 * on a server, `1` on the node of a cluster that is believed to have all of its keys, `2` for one record of a cluster,
 * wherever the client was directed to.
 */
export const PRELUDE = `
local prefix, stamp, mode = ARGV[1], ARGV[2], ARGV[3]
local clustered, alone = mode ~= '0', mode == '2'
local RUNNING, DONE, UNKNOWN = 0, 1, 2
local FORMAT, HEAD, HEAD_BYTES = 1, '>BBc16ddddHI4', 56
local SLACK = 3600000
local MOVED = 'moved'

-- Deleting nothing is a write that a replica refuses: it would answer reads from what it has heard of so far.
if not clustered then
  local reply = redis.pcall('DEL', prefix .. 'nothing')
  if type(reply) == 'table' and reply.err and string.sub(reply.err, 1, 8) == 'READONLY' then return reply end
end

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
-- What orders claims of a millisecond, also those of other nodes.
local order = time[2] % 1000 * 1000
if stamp ~= '' then now, order = tonumber(stamp), time[1] * 1000000 + time[2] end

-- A command on an index. While a slot is moved to another node its indexes may be on either. A script that the client was
-- redirected to must leave them alone, lest it makes a second one that the first could not be moved over; any other one
-- is told that they are elsewhere.
local function side(...)
  if alone then return nil end
  local reply = redis.pcall(...)
  if type(reply) == 'table' and reply.err then
    if clustered then return nil end
    error(reply.err, 0)
  end
  return reply
end

-- A record's value, or so much of it. In a cluster a key that is elsewhere, or that may be, raises MOVED.
local function fetch(command, key, ...)
  local reply = redis.pcall(command, key, ...)
  if type(reply) == 'table' then
    if clustered and not alone and string.sub(reply.err, 1, 9) ~= 'WRONGTYPE' then error(MOVED, 0) end
    error(reply.err, 0)
  end
  if reply == '' then return false end
  if reply and string.byte(reply) ~= FORMAT then error('format ' .. string.byte(reply), 0) end
  return reply
end

-- State, fence, leaseUntil, expiresAt, createdAt, endedAt, status, and how many bytes there are before the body.
local function head(value)
  return select(2, struct.unpack(HEAD, value))
end

local function body(value)
  local length = struct.unpack('>I4', value, HEAD_BYTES - 3)
  return string.sub(value, length + 1)
end

local function labels(value)
  local length = struct.unpack('>I4', value, HEAD_BYTES - 3)
  return string.sub(value, HEAD_BYTES + 1, length)
end

-- When Redis may delete the record itself. Expiry is judged by the instants in it; this only clears up after whoever
-- stopped using the store, so it is late rather than early.
local function deadline(expires, lease)
  return math.max(expires, lease) + SLACK
end

local function put(key, state, fence, lease, expires, created, ended, status, labels, body)
  local value = struct.pack(HEAD, FORMAT, state, fence, lease, expires, created, ended, status, HEAD_BYTES + #labels)
  redis.call('SET', key, value .. labels .. body, 'PXAT', deadline(expires, lease))
end

-- Names of entries as they sort: 1700000000000-7 becomes 0001700000000000-0000000000000007.
local function rank(entry)
  local ms, number = string.match(entry, '^(%d+)-(%d+)$')
  return string.rep('0', 16 - #ms) .. ms .. '-' .. string.rep('0', 16 - #number) .. number
end

-- Answers the name of the record's entry among the newest, or nothing where it could not get one.
local function enlist(base, id)
  if alone then return '' end
  order = order + 1
  local entry = redis.pcall('XADD', base .. 'records', string.format('%.0f-%.0f', now, order), 'i', id)
  if type(entry) == 'string' then return entry end
  -- The clock stepped back behind the newest entry, unless there is more that is wrong.
  return side('XADD', base .. 'records', '*', 'i', id) or ''
end

local function count(base, id, entry, account, due)
  if entry == '' then return end
  if side('ZADD', base .. 'expiry', due, id .. string.char(#entry) .. entry .. account) == 1 then
    side('HINCRBY', base .. 'accounts', account, 1)
  end
end

local function unlist(base, id, entry, account, state)
  if entry == '' then return end
  side('XDEL', base .. 'records', entry)
  if state ~= RUNNING and state ~= DONE then side('ZREM', base .. 'unknown', rank(entry) .. id) end
  if side('ZREM', base .. 'expiry', id .. string.char(#entry) .. entry .. account) == 1 then
    if (side('HINCRBY', base .. 'accounts', account, -1) or 1) <= 0 then side('HDEL', base .. 'accounts', account) end
  end
end

local function forget(base, id, value)
  local entry, account = struct.unpack('>I4c0I4c0', value, HEAD_BYTES + 1)
  redis.call('DEL', base .. 'r:' .. id)
  unlist(base, id, entry, account, (head(value)))
end

-- Deletes expired records of a place, looking at so many; answers how many it deleted, and how many are to be looked at
-- later since a lease keeps them alive.
local function clear(base, limit)
  local cleared, kept = 0, 0
  for _, member in ipairs(side('ZRANGEBYSCORE', base .. 'expiry', '-inf', now, 'LIMIT', 0, limit) or {}) do
    local id, entry, accountAt = struct.unpack('>c64Bc0', member)
    -- Enough for the head and the entry behind it.
    local ok, value = pcall(fetch, 'GETRANGE', base .. 'r:' .. id, 0, 127)
    if ok then
      local same = value and struct.unpack('>I4c0', value, HEAD_BYTES + 1) == entry
      local state, _, lease, expires = nil, nil, 0, 0
      if same then state, _, lease, expires = head(value) end
      if expires > now or lease > now then
        side('ZADD', base .. 'expiry', math.max(expires, lease), member)
        kept = kept + 1
      else
        if same then redis.call('DEL', base .. 'r:' .. id) end
        unlist(base, id, entry, string.sub(member, accountAt), state)
        cleared = cleared + 1
      end
    end
  end
  return cleared, kept
end
`;

/** For scripts that take many members: what each is answered, and whom to tell of what changed. */
export const MEMBERS = `
local replies, budget = {}, 8388608
local waited, changed = {}, {}

local function announce(base, id)
  if waited[base] == nil then waited[base] = side('EXISTS', base .. 'waiting') or 0 end
  if waited[base] == 1 and side('ZSCORE', base .. 'waiting', id) then changed[#changed + 1] = id end
end

local function answer(ok, status, value)
  if not ok then
    local reason = type(status) == 'table' and status.err or tostring(status)
    status, value = 'E', reason
    if reason == MOVED then status, value = 'M', nil end
  end
  replies[#replies + 1] = status
  if value then
    replies[#replies + 1] = struct.pack('>I4', #value)
    replies[#replies + 1] = value
    budget = budget - #value
  end
end

local function finish()
  if #changed > 0 then redis.pcall('PUBLISH', prefix .. 'changes', table.concat(changed, ' ')) end
  return struct.pack('>d', now) .. table.concat(replies)
end
`;

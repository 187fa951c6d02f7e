// What every script on records begins with: the server's clock, how a record's value is laid out, and its indexes.
//
// A record is one string, `PLACEr:ID`; it alone decides. Beside it, in the same slot of a cluster, are the indexes of its
// place. Records that were claimed together, and expire in the same minute, share an entry in them, a *batch*:
//
//   records  a stream of batches in the order of claims: each record's id and account, up to 64
//   expiry   a sorted set of the batches by when to look for expired records in them
//   counts   a hash: how many records each account has, `t` in all, and `l` the last position that was given to a record
//   gone     a set of the positions of records that were deleted and counted off before their batch is
//   unknown  a sorted set of what is unknown
//   waiting  a sorted set of what somebody waits for
//
// A record has the name of its batch, such as 1700000000000-123000, and its index there; its *position* is the name with
// the index added to the number behind. One without a batch is in no index, as may happen while a slot is moved; that is
// set right later.

/**
 * The first arguments of each: the prefix; the instant to judge by, in tests, or nothing; and where the script runs: `0`
 * on a server, `1` on the node of a cluster that is believed to have all of its keys, `2` for one record of a cluster,
 * wherever the client was directed to.
 */
export const PRELUDE = `
local prefix, stamp, mode = ARGV[1], ARGV[2], ARGV[3]
local clustered, alone = mode ~= '0', mode == '2'
local RUNNING, DONE, UNKNOWN = 0, 1, 2
local FORMAT, HEAD, HEAD_BYTES = 1, '>BBc16ddddHI4B', 57
local BATCH, MINUTE, SLACK = 64, 60000, 3600000
local MOVED = 'moved'

-- A replica would answer reads from what it has heard of so far; deleting nothing is a write that it refuses. Scripts end
-- with it, since Redis minds that its memory is full only until a script's first write.
local function replied(value)
  if clustered then return value end
  local reply = redis.pcall('DEL', prefix .. 'nothing')
  if type(reply) == 'table' and reply.err and string.find(reply.err, 'READONLY', 1, true) then return reply end
  return value
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
local function checked(reply)
  if type(reply) == 'table' then
    if clustered and not alone and not string.find(reply.err, 'WRONGTYPE', 1, true) then error(MOVED, 0) end
    error(reply.err, 0)
  end
  if not reply or reply == '' then return nil end
  local format = string.byte(reply)
  if format ~= FORMAT then error('format ' .. format, 0) end
  return reply
end

local function fetch(key)
  return checked(redis.pcall('GET', key))
end

-- Format, state, fence, leaseUntil, expiresAt, createdAt, endedAt, status, how many bytes there are before the body, and
-- the index in the batch. Behind it are the labels: the batch's name, the account, the run's id, and the rest.
local function head(value)
  return struct.unpack(HEAD, value)
end

-- The batch's name and the account.
local function names(value)
  return struct.unpack('>I4c0I4c0', value, HEAD_BYTES + 1)
end

-- When Redis may delete the record itself. Expiry is judged by the instants in it; this only clears up after whoever
-- stopped using the store, so it is late rather than early. As text, since Redis is slow to make it of a number.
local function deadline(expires, lease)
  return string.format('%d', math.max(expires, lease) + SLACK)
end

local function position(ms, number)
  return string.format('%d-%d', ms, number)
end

local function positionOf(value)
  local name, index = struct.unpack('>I4c0', value, HEAD_BYTES + 1), string.byte(value, HEAD_BYTES)
  if name == '' then return '' end
  local ms, number = string.match(name, '^(%d+)-(%d+)$')
  return position(ms, number + index)
end

local function parts(position)
  local ms, number = string.match(position, '^(%d+)-(%d+)$')
  return tonumber(ms), tonumber(number)
end

-- Positions as they sort as text.
local function rank(position)
  return string.format('%016d-%016d', parts(position))
end

-- The position of a place's next batch: after all others of it, also where the clock stepped back.
local function nextPosition(last)
  local ms, number = now, order
  order = order + BATCH
  if last then
    local lastMs, lastNumber = parts(last)
    if lastMs > ms or (lastMs == ms and lastNumber >= number) then ms, number = lastMs, lastNumber + 1 end
  end
  return ms, number
end

-- What a batch has of an account behind each id.
local function suffix(account)
  return struct.pack('>I2', #account) .. account
end

-- Puts a batch into the indexes, and answers whether that could be done. Its accounts are counted by the caller.
local function enlist(base, ms, number, members, due)
  local name = position(ms, number)
  -- First what leads to the batch: without it nobody would ever delete it.
  if not side('ZADD', base .. 'expiry', due, name) then return false end
  if not side('XADD', base .. 'records', name, 'm', table.concat(members)) then return false end
  side('HSET', base .. 'counts', 'l', position(ms, number + #members - 1))
  side('HINCRBY', base .. 'counts', 't', #members)
  return true
end

local function countOff(base, account, records)
  side('HINCRBY', base .. 'counts', 't', -records)
  if (side('HINCRBY', base .. 'counts', account, -records) or 1) <= 0 then side('HDEL', base .. 'counts', account) end
end

-- Deletes a record; its place in the batch stays, marked.
local function forget(base, id, value)
  redis.call('DEL', base .. 'r:' .. id)
  local at, _, state = positionOf(value), head(value)
  if at == '' then return end
  local _, account = names(value)
  side('SADD', base .. 'gone', at)
  countOff(base, account, 1)
  if state == UNKNOWN then side('ZREM', base .. 'unknown', rank(at) .. id) end
end

-- Deletes what has expired of a batch, up to a limit. Answers how many records it were, and whether that is all for now.
local function clearBatch(base, name, entries, limit)
  local ms, number = parts(name)
  local positions, off, fresh = {}, {}, {}
  for index = 1, #entries / 2 do positions[index] = position(ms, number + index - 1) end
  local gone = side('SMISMEMBER', base .. 'gone', unpack(positions))
  if not gone then return 0, false end
  local due, again = nil, false
  for index, at in ipairs(positions) do
    if gone[index] ~= 1 then
      if #fresh >= limit then again = true break end
      local id, account = entries[2 * index - 1], entries[2 * index]
      -- Enough for the head and the position behind it.
      local ok, value = pcall(checked, redis.pcall('GETRANGE', base .. 'r:' .. id, 0, 127))
      local _, state, lease, expires = nil, nil, 0, 0
      if ok and value and positionOf(value) == at then _, state, _, lease, expires = head(value) end
      if not ok then
        again = true
      elseif expires > now or lease > now then
        due = math.min(due or math.huge, math.max(expires, lease))
      else
        if state then redis.call('DEL', base .. 'r:' .. id) end
        if state ~= RUNNING and state ~= DONE then side('ZREM', base .. 'unknown', rank(at) .. id) end
        off[account] = (off[account] or 0) + 1
        fresh[#fresh + 1] = at
      end
    end
  end
  for account, records in pairs(off) do countOff(base, account, records) end
  if again or due then
    if #fresh > 0 then side('SADD', base .. 'gone', unpack(fresh)) end
    if not again then side('ZADD', base .. 'expiry', due, name) end
  else
    side('SREM', base .. 'gone', unpack(positions))
    side('ZREM', base .. 'expiry', name)
    side('XDEL', base .. 'records', name)
  end
  return #fresh, not again
end

local function entriesOf(batch)
  local entries, at = {}, 1
  while at <= #batch do
    entries[#entries + 1], entries[#entries + 2], at = struct.unpack('>c64I2c0', batch, at)
  end
  return entries
end

-- Deletes up to so many expired records of a place. Answers how many it were, and how many batches were looked through.
local function clear(base, limit)
  local cleared, looked = 0, 0
  local names = side('ZRANGEBYSCORE', base .. 'expiry', '-inf', now, 'LIMIT', 0, math.ceil(limit / 8)) or {}
  for _, name in ipairs(names) do
    if cleared >= limit then break end
    local found = side('XRANGE', base .. 'records', name, name)
    if found and found[1] then
      local some, all = clearBatch(base, name, entriesOf(found[1][2][2]), limit - cleared)
      cleared = cleared + some
      if all then looked = looked + 1 end
    elseif found then
      side('ZREM', base .. 'expiry', name)
      looked = looked + 1
    end
  end
  return cleared, looked
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
  if value then
    budget = budget - #value
    status = status .. struct.pack('>I4', #value) .. value
  end
  replies[#replies + 1] = status
end

local function finish()
  if #changed > 0 then redis.pcall('PUBLISH', prefix .. 'changes', table.concat(changed, ' ')) end
  return replied(struct.pack('>d', now) .. table.concat(replies))
end
`;

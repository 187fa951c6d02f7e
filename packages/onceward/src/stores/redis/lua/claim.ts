// The script that claims keys, many at once, and answers what it found (SPEC §4.1).

import { MEMBERS, PRELUDE } from "./prelude.js";

/**
 * After the prelude's arguments: from how many records of an account, and of a place, on it answers `A` or `S` instead of
 * making one more; and the claims: length of place, place, id, fence, age, whether the retention is an instant, the
 * retention, the lease, whether limits are not to be judged here, length of labels, labels.
 *
 * Each is answered `N` (new), `U` (new, and in no index), `C` (one's own, with the value) or `F` (somebody else's, with
 * the value), `A`, `S`, `L` (untouched: the answer was getting too long, ask again), `M` (the record is elsewhere) or `E`
 * (with the reason).
 */
export const CLAIM: string = `${PRELUDE}${MEMBERS}
local perAccount, perPlace, claims = tonumber(ARGV[4]), tonumber(ARGV[5]), ARGV[6]
local places, suffixes, deadlines = {}, {}, {}

local function placeOf(name)
  local place = places[name]
  if not place then
    local base = prefix .. name
    local counts = side('HMGET', base .. 'counts', 't', 'l') or {}
    place = { base = base, total = tonumber(counts[1] or 0), last = counts[2], held = {}, batches = {}, claimed = 0 }
    places[name] = place
  end
  return place
end

local function limitOf(place, account)
  local held = place.held[account]
  if not held then
    held = tonumber(side('HGET', place.base .. 'counts', account) or 0)
    place.held[account] = held
  end
  if held >= perAccount then return 'A' end
  if place.total >= perPlace then return 'S' end
end

-- Takes a batch into the indexes, once it is full or at the end. What it has cannot be taken back, only found later.
local function flush(place, batch)
  if #batch == 0 then return end
  local ok, listed = pcall(enlist, place.base, batch.ms, batch.number, batch, batch.due)
  if ok and listed then
    for account, records in pairs(batch.accounts) do side('HINCRBY', place.base .. 'counts', account, records) end
    return
  end
  for _, index in ipairs(batch.replies) do
    if ok then replies[index] = 'U' else replies[index] = 'E' .. struct.pack('>I4', #listed) .. listed end
  end
end

local function flushAll(place)
  for minute, batch in pairs(place.batches) do
    flush(place, batch)
    place.batches[minute] = nil
  end
end

-- Expired records make room before a claim is refused (SPEC 9.4); once for all claims of a place.
local function full(place, account)
  local limit = limitOf(place, account)
  if not limit or place.madeRoom then return limit end
  flushAll(place)
  place.madeRoom = true
  if clear(place.base, 500) == 0 then return limit end
  place.held, place.total = {}, tonumber(side('HGET', place.base .. 'counts', 't') or 0)
  return limitOf(place, account)
end

local function batchFor(place, expires)
  local minute = math.floor(expires / MINUTE)
  local batch = place.batches[minute]
  if batch and #batch >= BATCH then
    flush(place, batch)
    batch = nil
  end
  if not batch then
    batch = { due = math.huge, accounts = {}, replies = {} }
    batch.ms, batch.number = nextPosition(place.last)
    local name = position(batch.ms, batch.number)
    batch.label = struct.pack('>I4c0', #name, name)
    place.last = position(batch.ms, batch.number + BATCH - 1)
    place.batches[minute] = batch
  end
  return batch
end

-- Makes the record, unless its key is there. Answers nothing then, and the reason where Redis refuses it.
local function make(place, key, id, account, fence, age, untilGiven, retention, leaseMs, rest)
  local created, lease = now - age, now + leaseMs
  local expires = untilGiven == 1 and retention or created + retention
  local batch = alone and { label = '\0\0\0\0' } or batchFor(place, expires)
  local due, index, label = math.max(expires, lease), #batch, batch.label
  local untilAt = deadlines[due]
  if not untilAt then
    untilAt = deadline(expires, lease)
    deadlines[due] = untilAt
  end
  local first = struct.pack(HEAD, FORMAT, RUNNING, fence, lease, expires, created, 0, 0,
    HEAD_BYTES + #label + #rest, index)
  local reply = redis.pcall('SET', key, first .. label .. rest, 'NX', 'PXAT', untilAt)
  if not reply then return nil end
  if reply.err then return nil, reply end
  if alone then return 'U' end
  local behind = suffixes[account]
  if not behind then
    behind = suffix(account)
    suffixes[account] = behind
  end
  batch[index + 1] = id .. behind
  batch.due = math.min(batch.due, due)
  batch.accounts[account] = (batch.accounts[account] or 0) + 1
  batch.replies[#batch.replies + 1] = #replies + 1
  place.total, place.claimed = place.total + 1, place.claimed + 1
  place.held[account] = (place.held[account] or 0) + 1
  return 'N'
end

local function claim(name, id, fence, age, untilGiven, retention, leaseMs, unlimited, rest)
  local place = placeOf(name)
  local key, account = place.base .. 'r:' .. id, struct.unpack('>I4c0', rest)
  local made, refused
  if unlimited == 1 or not limitOf(place, account) then
    made, refused = make(place, key, id, account, fence, age, untilGiven, retention, leaseMs, rest)
    if made then return made end
  end
  -- Also where no memory is left for new records, those that are there are answered.
  local value = fetch(key)
  if value then
    local _, state, heldBy, held, expires = head(value)
    if expires > now or held > now then
      if state ~= RUNNING or heldBy ~= fence then return 'F', value end
      local lease = struct.pack('>d', now + leaseMs)
      redis.call('SETRANGE', key, 18, lease)
      if now + leaseMs > expires then redis.call('PEXPIREAT', key, deadline(expires, now + leaseMs)) end
      return 'C', string.sub(value, 1, 18) .. lease .. string.sub(value, 27)
    end
  end
  if refused then checked(refused) end
  if value then
    forget(place.base, id, value)
    local batch, of = names(value)
    if batch ~= '' then
      place.total = place.total - 1
      if place.held[of] then place.held[of] = place.held[of] - 1 end
    end
  end
  local limit = unlimited == 0 and full(place, account)
  if limit then return limit end
  made, refused = make(place, key, id, account, fence, age, untilGiven, retention, leaseMs, rest)
  if refused then checked(refused) end
  return made
end

local at = 1
while at <= #claims do
  local place, id, fence, age, untilGiven, retention, leaseMs, unlimited, rest, next =
    struct.unpack('>Bc0c64c16dBddBI4c0', claims, at)
  at = next
  if budget <= 0 then
    answer(true, 'L')
  else
    answer(pcall(claim, place, id, fence, age, untilGiven, retention, leaseMs, unlimited, rest))
  end
end
for _, place in pairs(places) do
  flushAll(place)
  -- So that a store is cleared up also where nobody purges.
  if place.claimed > 0 then pcall(clear, place.base, 2 * place.claimed) end
end
return finish()
`;

// The script of everything that is done to a record by its id, many at once.

import { MEMBERS, PRELUDE } from "./prelude.js";

/** What can be done. Their numbers are between this version's store and its own script only. */
export const ACTIONS = {
  renew: 0,
  complete: 1,
  interrupt: 2,
  takeOver: 3,
  settle: 4,
  release: 5,
  find: 6,
  appendStep: 7,
  readSteps: 8,
  watch: 9,
  adopt: 10,
} as const;

export type ActionName = keyof typeof ACTIONS;

/**
 * After the prelude's arguments the actions: number, length of place, place, id, fence, two numbers, length of bytes,
 * bytes, another fence. What they mean is said at each; see core's Store for what it is to do.
 *
 * Each is answered `1`, `0`, `V` (with a value), `L` (untouched: the answer was getting too long, ask again), `M` (the
 * record is elsewhere) or `E` (with the reason).
 */
export const ACT: string = `${PRELUDE}${MEMBERS}
local actions, perform = ARGV[4], {}

-- The record's value, where it has not expired, and its head.
local function live(base, id)
  local value = fetch(base .. 'r:' .. id)
  if not value then return nil end
  local _, state, fence, lease, expires, created, ended, status, bodyAt, index = head(value)
  if expires <= now and lease <= now then return nil end
  return value, state, fence, lease, expires, created, ended, status, bodyAt, index
end

-- Whether a record is there that is not done and has this fence; and how long it is kept.
local function owned(base, id, fence)
  local value = checked(redis.pcall('GETRANGE', base .. 'r:' .. id, 0, HEAD_BYTES - 1))
  if not value then return false end
  local _, state, heldBy, lease, expires = head(value)
  return state ~= DONE and heldBy == fence and (expires > now or lease > now), expires
end

local function isListed(base, id, batch, index)
  if batch == '' then return false end
  local found = side('XRANGE', base .. 'records', batch, batch)
  if not found then return nil end
  return found[1] ~= nil and entriesOf(found[1][2][2])[2 * index + 1] == id
end

-- Puts a record into indexes that it is not in. Answers whether it is in them.
local function adopt(base, id)
  local value, state, fence, lease, expires, created, ended, status, bodyAt, index = live(base, id)
  if not value then return true end
  local batch, account, restAt = names(value)
  local listed = isListed(base, id, batch, index)
  if listed == nil then return false end
  if not listed then
    local counts = side('HMGET', base .. 'counts', 'l')
    if not counts then return false end
    local ms, number = nextPosition(counts[1])
    if not enlist(base, ms, number, { id .. suffix(account) }, math.max(expires, lease)) then return false end
    side('HINCRBY', base .. 'counts', account, 1)
    batch = position(ms, number)
    local labels = struct.pack('>I4c0I4c0', #batch, batch, #account, account) .. string.sub(value, restAt, bodyAt)
    local first = struct.pack(HEAD, FORMAT, state, fence, lease, expires, created, ended, status,
      HEAD_BYTES + #labels, 0)
    value = first .. labels .. string.sub(value, bodyAt + 1)
    redis.call('SET', base .. 'r:' .. id, value, 'KEEPTTL')
  end
  if state ~= UNKNOWN then return true end
  return side('ZADD', base .. 'unknown', 0, rank(positionOf(value)) .. id) ~= nil
end

-- Takes a record that was unknown out of their index.
local function known(base, id, value)
  local at = positionOf(value)
  if at ~= '' then side('ZREM', base .. 'unknown', rank(at) .. id) end
end

local function finishWith(base, id, fence, answered, payload, value, state, _, _, expires, created, _, _, bodyAt, index)
  local first = struct.pack(HEAD, FORMAT, DONE, fence, 0, expires, created, now, answered, bodyAt, index)
  redis.call('SET', base .. 'r:' .. id, first .. string.sub(value, HEAD_BYTES + 1, bodyAt) .. payload, 'KEEPTTL')
  if state == UNKNOWN then known(base, id, value) end
  announce(base, id)
  return '1'
end

-- leaseMs
perform[${ACTIONS.renew}] = function(base, id, fence, leaseMs)
  local held, expires = owned(base, id, fence)
  if not held then return '0' end
  local key, lease = base .. 'r:' .. id, now + leaseMs
  redis.call('SETRANGE', key, 18, struct.pack('>d', lease))
  if lease > expires then redis.call('PEXPIREAT', key, deadline(expires, lease)) end
  return '1'
end

-- status, -, payload
perform[${ACTIONS.complete}] = function(base, id, fence, answered, _, payload)
  local value, state, heldBy, lease, expires, created, ended, status, bodyAt, index = live(base, id)
  if not value or heldBy ~= fence then return '0' end
  if state == DONE then return '1' end
  return finishWith(base, id, fence, answered, payload,
    value, state, heldBy, lease, expires, created, ended, status, bodyAt, index)
end

-- status, 1 by the owner or 0 by a finder
perform[${ACTIONS.interrupt}] = function(base, id, fence, answered, byOwner)
  local value, state, heldBy, lease, expires, created, ended, status = live(base, id)
  if not value or state == DONE or heldBy ~= fence then return '0' end
  if state == RUNNING then
    if byOwner == 0 and lease > now then return '0' end
    ended, status = now, answered
  end
  if byOwner == 1 then lease = 0 end
  redis.call('SETRANGE', base .. 'r:' .. id, 1,
    struct.pack('>Bc16ddddH', UNKNOWN, fence, lease, expires, created, ended, status))
  -- An index that is elsewhere just now changes nothing about the outcome.
  pcall(adopt, base, id)
  announce(base, id)
  return '1'
end

-- leaseMs, -, the run's id (nothing: it stays), the next fence
perform[${ACTIONS.takeOver}] = function(base, id, fence, leaseMs, _, runId, nextFence)
  local value, state, heldBy, held, expires, created, _, _, bodyAt, index = live(base, id)
  if not value then return '0' end
  if heldBy ~= nextFence or state ~= RUNNING then
    if heldBy ~= fence or state == DONE or held > now then return '0' end
  end
  local batch, account, oldRunId, restAt = struct.unpack('>I4c0I4c0I4c0', value, HEAD_BYTES + 1)
  if runId == '' then runId = oldRunId end
  local labels = struct.pack('>I4c0I4c0I4c0', #batch, batch, #account, account, #runId, runId)
    .. string.sub(value, restAt, bodyAt)
  local lease = now + leaseMs
  local first = struct.pack(HEAD, FORMAT, RUNNING, nextFence, lease, expires, created, 0, 0,
    HEAD_BYTES + #labels, index)
  redis.call('SET', base .. 'r:' .. id, first .. labels .. string.sub(value, bodyAt + 1),
    'PXAT', deadline(expires, lease))
  if state == UNKNOWN then known(base, id, value) end
  announce(base, id)
  return '1'
end

-- status, -, payload, the next fence
perform[${ACTIONS.settle}] = function(base, id, fence, answered, _, payload, nextFence)
  local value, state, heldBy, lease, expires, created, ended, status, bodyAt, index = live(base, id)
  if not value then return '0' end
  if state == DONE then return heldBy == nextFence and '1' or '0' end
  if heldBy ~= fence or (state == RUNNING and lease > now) then return '0' end
  return finishWith(base, id, nextFence, answered, payload,
    value, state, heldBy, lease, expires, created, ended, status, bodyAt, index)
end

perform[${ACTIONS.release}] = function(base, id, fence)
  local value, state, heldBy = live(base, id)
  if not value or state == DONE or heldBy ~= fence then return '0' end
  forget(base, id, value)
  announce(base, id)
  return '1'
end

perform[${ACTIONS.find}] = function(base, id)
  local value = live(base, id)
  if not value then return '0' end
  return 'V', value
end

-- -, -, the entry
perform[${ACTIONS.appendStep}] = function(base, id, fence, _, _, entry)
  if not owned(base, id, fence) then return '0' end
  redis.call('APPEND', base .. 'r:' .. id, entry)
  return '1'
end

perform[${ACTIONS.readSteps}] = function(base, id, fence)
  local value, state, heldBy, _, _, _, _, _, bodyAt = live(base, id)
  if not value or state == DONE or heldBy ~= fence then return '0' end
  return 'V', string.sub(value, bodyAt + 1)
end

-- Remembers for so many milliseconds that somebody waits for the record.
perform[${ACTIONS.watch}] = function(base, id, _, forMs)
  local waiting = base .. 'waiting'
  side('ZREMRANGEBYSCORE', waiting, '-inf', now)
  side('ZADD', waiting, now + forMs, id)
  side('PEXPIRE', waiting, 2 * forMs)
  return '1'
end

perform[${ACTIONS.adopt}] = function(base, id)
  return adopt(base, id) and '1' or '0'
end

local at = 1
while at <= #actions do
  local number, place, id, fence, one, two, bytes, nextFence, next =
    struct.unpack('>BBc0c64c16ddI4c0c16', actions, at)
  at = next
  if budget <= 0 then
    answer(true, 'L')
  else
    answer(pcall(perform[number], prefix .. place, id, fence, one, two, bytes, nextFence))
  end
end
return finish()
`;

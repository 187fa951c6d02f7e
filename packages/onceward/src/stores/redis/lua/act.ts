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

-- The record's value where it has not expired.
local function live(base, id)
  local value = fetch('GET', base .. 'r:' .. id)
  if not value then return nil end
  local _, _, lease, expires = head(value)
  if expires <= now and lease <= now then return nil end
  return value
end

local function open(base, id, fence)
  local value = live(base, id)
  if not value then return nil end
  local state, heldBy = head(value)
  if state == DONE or heldBy ~= fence then return nil end
  return value
end

-- Puts a record into indexes that it is not in.
local function adopt(base, id, value)
  local state, fence, lease, expires, created, ended, status = head(value)
  local entry, account, restAt = struct.unpack('>I4c0I4c0', value, HEAD_BYTES + 1)
  if entry == '' then
    entry = enlist(base, id)
    if entry == '' then return '0' end
    local rest = string.sub(labels(value), 5)
    put(base .. 'r:' .. id, state, fence, lease, expires, created, ended, status,
      struct.pack('>I4c0', #entry, entry) .. rest, body(value))
    count(base, id, entry, account, math.max(expires, lease))
  end
  if state == UNKNOWN and side('ZADD', base .. 'unknown', 0, rank(entry) .. id) == nil then return '0' end
  return '1'
end

local function finishWith(base, id, value, fence, status, payload)
  local state, _, _, expires, created = head(value)
  put(base .. 'r:' .. id, DONE, fence, 0, expires, created, now, status, labels(value), payload)
  if state == UNKNOWN then
    local entry = struct.unpack('>I4c0', value, HEAD_BYTES + 1)
    if entry ~= '' then side('ZREM', base .. 'unknown', rank(entry) .. id) end
  end
  announce(base, id)
  return '1'
end

-- leaseMs
perform[${ACTIONS.renew}] = function(base, id, fence, leaseMs)
  local key = base .. 'r:' .. id
  local value = fetch('GETRANGE', key, 0, HEAD_BYTES - 1)
  if not value then return '0' end
  local state, heldBy, held, expires = head(value)
  if state == DONE or heldBy ~= fence or (expires <= now and held <= now) then return '0' end
  local lease = now + leaseMs
  redis.call('SETRANGE', key, 18, struct.pack('>d', lease))
  if lease > expires then redis.call('PEXPIREAT', key, deadline(expires, lease)) end
  return '1'
end

-- status, -, payload
perform[${ACTIONS.complete}] = function(base, id, fence, status, _, payload)
  local value = live(base, id)
  if not value then return '0' end
  local state, heldBy = head(value)
  if heldBy ~= fence then return '0' end
  if state == DONE then return '1' end
  return finishWith(base, id, value, fence, status, payload)
end

-- status, 1 by the owner or 0 by a finder
perform[${ACTIONS.interrupt}] = function(base, id, fence, status, byOwner)
  local value = open(base, id, fence)
  if not value then return '0' end
  local state, _, lease, expires, created, ended, was = head(value)
  if state == RUNNING then
    if byOwner == 0 and lease > now then return '0' end
    ended, was = now, status
  end
  if byOwner == 1 then lease = 0 end
  local bytes = struct.pack('>Bc16ddddH', UNKNOWN, fence, lease, expires, created, ended, was)
  redis.call('SETRANGE', base .. 'r:' .. id, 1, bytes)
  -- An index that is elsewhere just now changes nothing about the outcome.
  pcall(adopt, base, id, string.sub(value, 1, 1) .. bytes .. string.sub(value, 2 + #bytes))
  announce(base, id)
  return '1'
end

-- leaseMs, -, the run's id (nothing: it stays), the next fence
perform[${ACTIONS.takeOver}] = function(base, id, fence, leaseMs, _, runId, nextFence)
  local value = live(base, id)
  if not value then return '0' end
  local state, heldBy, held, expires, created = head(value)
  if not (heldBy == nextFence and state == RUNNING) then
    if heldBy ~= fence or state == DONE or held > now then return '0' end
  end
  local entry, account, oldRunId, restAt = struct.unpack('>I4c0I4c0I4c0', value, HEAD_BYTES + 1)
  local length = struct.unpack('>I4', value, HEAD_BYTES - 3)
  if runId == '' then runId = oldRunId end
  put(base .. 'r:' .. id, RUNNING, nextFence, now + leaseMs, expires, created, 0, 0,
    struct.pack('>I4c0I4c0I4c0', #entry, entry, #account, account, #runId, runId) .. string.sub(value, restAt, length),
    body(value))
  if state == UNKNOWN and entry ~= '' then side('ZREM', base .. 'unknown', rank(entry) .. id) end
  announce(base, id)
  return '1'
end

-- status, -, payload, the next fence
perform[${ACTIONS.settle}] = function(base, id, fence, status, _, payload, nextFence)
  local value = live(base, id)
  if not value then return '0' end
  local state, heldBy, held = head(value)
  if state == DONE then return heldBy == nextFence and '1' or '0' end
  if heldBy ~= fence or (state == RUNNING and held > now) then return '0' end
  return finishWith(base, id, value, nextFence, status, payload)
end

perform[${ACTIONS.release}] = function(base, id, fence)
  local value = open(base, id, fence)
  if not value then return '0' end
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
  if not open(base, id, fence) then return '0' end
  redis.call('APPEND', base .. 'r:' .. id, entry)
  return '1'
end

perform[${ACTIONS.readSteps}] = function(base, id, fence)
  local value = open(base, id, fence)
  if not value then return '0' end
  return 'V', body(value)
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
  local value = live(base, id)
  if not value then return '1' end
  return adopt(base, id, value)
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

// The scripts on whole places: purging, counting and listing what is in them.

import { PRELUDE } from "./prelude.js";

/**
 * How many expired records to delete at most, and the places (each with its length before it). Answers how many it
 * deleted, and how many it put off since a lease keeps them alive.
 */
export const PURGE: string = `${PRELUDE}
local limit, places = tonumber(ARGV[4]), ARGV[5]
local cleared, kept, at = 0, 0, 1
while at <= #places and cleared + kept < limit do
  local place
  place, at = struct.unpack('>Bc0', places, at)
  local some, later = clear(prefix .. place, limit - cleared - kept)
  cleared, kept = cleared + some, kept + later
end
return { cleared, kept }
`;

/** An account and the places. Answers how many records there are in all, and how many of the account's. */
export const COUNT: string = `${PRELUDE}
local account, places = ARGV[4], ARGV[5]
local total, held, at = 0, 0, 1
while at <= #places do
  local place
  place, at = struct.unpack('>Bc0', places, at)
  total = total + (side('XLEN', prefix .. place .. 'records') or 0)
  held = held + tonumber(side('HGET', prefix .. place .. 'accounts', account) or 0)
end
return { total, held }
`;

/**
 * A state's byte, the account and the key that are asked for (each nothing where all are), how many records to answer and
 * how many to look at in each place; and the places, each with its length before it and behind it, with a byte of length,
 * from which entry on: all, up to it, or before it (with a bracket in front).
 *
 * Answers the clock, and for each place: how many it found; their entries (length, name), ids, and heads with labels
 * (length, bytes); and where it stopped (length, name of the last entry it looked at), or nothing at the end.
 */
export const LIST: string = `${PRELUDE}
local state, account, key = tonumber(ARGV[4]), ARGV[5], ARGV[6]
local limit, most, places = tonumber(ARGV[7]), tonumber(ARGV[8]), ARGV[9]
local AT_ONCE = 1024

local function entries(base, start)
  if state ~= UNKNOWN then
    local found = side('XREVRANGE', base .. 'records', start, '-', 'COUNT', most) or {}
    for index, item in ipairs(found) do found[index] = { item[1], item[2][2] } end
    return found
  end
  local bound = '+'
  if string.sub(start, 1, 1) == '(' then
    bound = '(' .. rank(string.sub(start, 2))
  elseif start ~= '+' then
    bound = '(' .. rank(start) .. 'g'
  end
  local found = side('ZREVRANGEBYLEX', base .. 'unknown', bound, '-', 'LIMIT', 0, most) or {}
  for index, member in ipairs(found) do
    local ms, number = tonumber(string.sub(member, 1, 16)), tonumber(string.sub(member, 18, 33))
    found[index] = { string.format('%.0f-%.0f', ms, number), string.sub(member, 34) }
  end
  return found
end

local function read(base, id)
  local value = fetch('GETRANGE', base .. 'r:' .. id, 0, AT_ONCE - 1)
  if not value then return nil end
  local length = struct.unpack('>I4', value, HEAD_BYTES - 3)
  if length > AT_ONCE then value = fetch('GETRANGE', base .. 'r:' .. id, 0, length - 1) end
  return string.sub(value, 1, length)
end

-- The head and labels of the record of an entry, where it is one that is asked for.
local function matching(base, entry, id)
  local value = read(base, id)
  local is, _, lease, expires = RUNNING, nil, 0, 0
  local listed, of, _, named
  if value then
    is, _, lease, expires = head(value)
    listed, of, _, named = struct.unpack('>I4c0I4c0I4c0I4c0', value, HEAD_BYTES + 1)
  end
  if listed ~= entry then
    -- Redis deleted the record, or its key has another life. Here a key that is missing is missing: see fetch.
    redis.pcall('XDEL', base .. 'records', entry)
    redis.pcall('ZREM', base .. 'unknown', rank(entry) .. id)
    return nil
  end
  if expires <= now and lease <= now then return nil end
  if state and is ~= state then return nil end
  if (account ~= '' and of ~= account) or (key ~= '' and named ~= key) then return nil end
  return value
end

local function list(base, start)
  local found, last, looked = {}, '', 0
  local all = entries(base, start)
  for _, item in ipairs(all) do
    if #found >= limit then break end
    local entry, id = item[1], item[2]
    last, looked = entry, looked + 1
    local ok, value = pcall(matching, base, entry, id)
    if not ok and not clustered then error(value, 0) end
    if ok and value then
      found[#found + 1] = struct.pack('>Bc0c64I4c0', #entry, entry, id, #value, value)
    end
  end
  if looked == #all and #all < most then last = '' end
  return struct.pack('>I4', #found) .. table.concat(found) .. struct.pack('>Bc0', #last, last)
end

local answer, at = { struct.pack('>d', now) }, 1
while at <= #places do
  local place, start
  place, start, at = struct.unpack('>Bc0Bc0', places, at)
  answer[#answer + 1] = list(prefix .. place, start)
end
return table.concat(answer)
`;

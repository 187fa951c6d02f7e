// The scripts on whole places: purging, counting and listing what is in them.

import { PRELUDE } from "./prelude.js";

/**
 * How many expired records to delete at most, and the places (each with its length before it). Answers how many it
 * deleted, and how many batches it got done with.
 */
export const PURGE: string = `${PRELUDE}
local limit, places = tonumber(ARGV[4]), ARGV[5]
local cleared, looked, at = 0, 0, 1
while at <= #places and cleared < limit do
  local place
  place, at = struct.unpack('>Bc0', places, at)
  local some, batches = clear(prefix .. place, limit - cleared)
  cleared, looked = cleared + some, looked + batches
end
return replied({ cleared, looked })
`;

/** An account and the places. Answers how many records there are in all, and how many of the account's. */
export const COUNT: string = `${PRELUDE}
local account, places = ARGV[4], ARGV[5]
local total, held, at = 0, 0, 1
while at <= #places do
  local place
  place, at = struct.unpack('>Bc0', places, at)
  local counts = side('HMGET', prefix .. place .. 'counts', 't', account) or {}
  total, held = total + tonumber(counts[1] or 0), held + tonumber(counts[2] or 0)
end
return replied({ total, held })
`;

/**
 * A state's byte, the account and the key that are asked for (each nothing where all are), how many records to answer and
 * how many to look at in each place; and the places, each with its length before it and behind it, with a byte of length,
 * from which position on: all (nothing), up to it, or before it (with a bracket in front).
 *
 * Answers the clock, and for each place: how many it found; their positions (length, text), ids, and heads with labels
 * (length, bytes); and where it stopped (length, the last position it looked at), or nothing at the end.
 */
export const LIST: string = `${PRELUDE}
local state, account, key = tonumber(ARGV[4]), ARGV[5], ARGV[6]
local limit, most, places = tonumber(ARGV[7]), tonumber(ARGV[8]), ARGV[9]
local AT_ONCE = 1024

-- Positions and ids of the newest records of a place from somewhere on, at most so many; and whether there are more.
local function newest(base, start)
  local before = string.sub(start, 1, 1) == '('
  local from = string.gsub(start, '^%(', '')
  local found, more = {}, from == '' and '+' or from
  local fromMs, fromNumber, atOnce = math.huge, math.huge, math.min(most, 20)
  if from ~= '' then fromMs, fromNumber = parts(from) end
  while more and #found < most do
    local batches = side('XREVRANGE', base .. 'records', more, '-', 'COUNT', atOnce) or {}
    for _, batch in ipairs(batches) do
      local entries = entriesOf(batch[2][2])
      local ms, number = parts(batch[1])
      for index = #entries / 2, 1, -1 do
        local mine = number + index - 1
        if ms < fromMs or mine < fromNumber or (mine == fromNumber and not before) then
          found[#found + 1] = { position(ms, mine), entries[2 * index - 1] }
        end
      end
    end
    more = #batches == atOnce and '(' .. batches[atOnce][1]
  end
  return found, more
end

local function newestUnknown(base, start)
  local bound = '+'
  if string.sub(start, 1, 1) == '(' then
    bound = '(' .. rank(string.sub(start, 2))
  elseif start ~= '' then
    bound = '(' .. rank(start) .. 'g'
  end
  local found = side('ZREVRANGEBYLEX', base .. 'unknown', bound, '-', 'LIMIT', 0, most) or {}
  for index, item in ipairs(found) do
    local at = position(tonumber(string.sub(item, 1, 16)), tonumber(string.sub(item, 18, 33)))
    found[index] = { at, string.sub(item, 34) }
  end
  return found, #found == most
end

local function read(base, id)
  local value = checked(redis.pcall('GETRANGE', base .. 'r:' .. id, 0, AT_ONCE - 1))
  if not value then return nil end
  local length = struct.unpack('>I4', value, HEAD_BYTES - 4)
  if length > AT_ONCE then value = checked(redis.pcall('GETRANGE', base .. 'r:' .. id, 0, length - 1)) end
  return string.sub(value, 1, length)
end

-- The head and labels of the record at a position, where it is one that is asked for.
local function matching(base, at, id)
  local value = read(base, id)
  if not value then return nil end
  local _, is, _, lease, expires = head(value)
  local _, of, _, named = struct.unpack('>I4c0I4c0I4c0I4c0', value, HEAD_BYTES + 1)
  -- Its key may have another life by now.
  if positionOf(value) ~= at or (expires <= now and lease <= now) then return nil end
  if state and is ~= state then return nil end
  if (account ~= '' and of ~= account) or (key ~= '' and named ~= key) then return nil end
  return value
end

local function list(base, start)
  local found, last = {}, ''
  local all, more = (state == UNKNOWN and newestUnknown or newest)(base, start)
  for index, item in ipairs(all) do
    if #found >= limit then more = true break end
    local at, id = item[1], item[2]
    last = at
    local ok, value = pcall(matching, base, at, id)
    if not ok and not clustered then error(value, 0) end
    if ok and value then
      found[#found + 1] = struct.pack('>Bc0c64I4c0', #at, at, id, #value, value)
    end
  end
  if not more then last = '' end
  return struct.pack('>I4', #found) .. table.concat(found) .. struct.pack('>Bc0', #last, last)
end

local answer, at = { struct.pack('>d', now) }, 1
while at <= #places do
  local place, start
  place, start, at = struct.unpack('>Bc0Bc0', places, at)
  answer[#answer + 1] = list(prefix .. place, start)
end
return replied(table.concat(answer))
`;

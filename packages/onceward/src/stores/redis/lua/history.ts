// The scripts of the run history and of shared values; all keys of one call are in one slot.

/**
 * Keys: the ids in their order, and the entries by their ids. How many entries to keep, and an id and an entry in turn.
 * Entries of the same id are replaced; the oldest ones make room.
 */
export const PUT_ENTRIES = `
local keep = tonumber(ARGV[1])
for index = 2, #ARGV, 2 do
  redis.call('ZADD', KEYS[1], 0, ARGV[index])
  redis.call('HSET', KEYS[2], ARGV[index], ARGV[index + 1])
end
local over = redis.call('ZCARD', KEYS[1]) - keep
if over > 0 then
  local oldest = redis.call('ZRANGE', KEYS[1], 0, math.min(over, 1000) - 1)
  redis.call('ZREM', KEYS[1], unpack(oldest))
  redis.call('HDEL', KEYS[2], unpack(oldest))
end
return 1
`;

/** Keys as above. From where on (\`+\` or a bracket and an id), and how many. Answers ids and entries in turn, newest first. */
export const LIST_ENTRIES = `
local found = {}
for _, id in ipairs(redis.call('ZREVRANGEBYLEX', KEYS[1], ARGV[1], '-', 'LIMIT', 0, ARGV[2])) do
  found[#found + 1] = id
  found[#found + 1] = redis.call('HGET', KEYS[2], id) or ''
end
return found
`;

/** Keys as above. How many entries to keep, and how many to delete at most. Answers how many it deleted. */
export const TRIM_ENTRIES = `
local over = math.min(redis.call('ZCARD', KEYS[1]) - tonumber(ARGV[1]), tonumber(ARGV[2]))
if over <= 0 then return 0 end
local oldest = redis.call('ZRANGE', KEYS[1], 0, over - 1)
redis.call('ZREM', KEYS[1], unpack(oldest))
redis.call('HDEL', KEYS[2], unpack(oldest))
return #oldest
`;

/** A key of a hash: the field, what it is expected to be, and what to make of it. Answers whether it did. */
export const REPLACE_ENTRY = `
if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
return 1
`;

/** A key: what to make of it, whether it is expected to be there, and what it is expected to be. */
export const SET_SHARED = `
local value = redis.call('GET', KEYS[1])
if ARGV[2] == '0' then
  if value then return 0 end
elseif value ~= ARGV[3] then
  return 0
end
redis.call('SET', KEYS[1], ARGV[1])
return 1
`;

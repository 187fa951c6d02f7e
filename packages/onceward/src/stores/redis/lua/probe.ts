// The script that finds out, before anything rests on it, what the server refuses.

/**
 * A prefix and a place of the server. Runs each command that the store's scripts use, on keys that it deletes again, and
 * reads the indexes. Answers the commands that are not permitted, each with the reason behind a space, and `FOREIGN` with
 * the name of a key that is something else than the store's.
 */
export const PROBE = `
local base = ARGV[1] .. ARGV[2]
local key = base .. 'probe'
local refused = {}

local function try(command, ...)
  local reply = redis.pcall(command, ...)
  if type(reply) ~= 'table' or not reply.err then return reply end
  local reason = string.lower(reply.err)
  if string.find(reason, 'readonly', 1, true) or string.find(reason, 'perm', 1, true)
    or string.find(reason, "can't", 1, true) or string.find(reason, 'unknown', 1, true) then
    refused[#refused + 1] = string.upper(command) .. ' ' .. reply.err
  elseif string.find(reply.err, 'WRONGTYPE', 1, true) then
    refused[#refused + 1] = 'FOREIGN ' .. select(1, ...)
  end
end

try('TIME')
try('DEL', key)
try('SET', key, 'value', 'PXAT', 9999999999999)
try('GET', key)
try('GETRANGE', key, 0, 1)
try('SETRANGE', key, 0, 'other')
try('APPEND', key, 'more')
try('PEXPIREAT', key, 9999999999999)
try('EXISTS', key)
try('DEL', key)
local entry = try('XADD', key, '*', 'i', 'value')
try('XLEN', key)
try('XREVRANGE', key, '+', '(0-1', 'COUNT', 1)
try('XDEL', key, entry or '0-1')
try('DEL', key)
try('ZADD', key, 0, 'member')
try('ZSCORE', key, 'member')
try('ZCARD', key)
try('ZRANGE', key, 0, 0)
try('ZRANGEBYSCORE', key, '-inf', '-1', 'LIMIT', 0, 1)
try('ZREVRANGEBYLEX', key, '+', '-', 'LIMIT', 0, 1)
try('ZREMRANGEBYSCORE', key, '-inf', '-1')
try('PEXPIRE', key, 1000)
try('ZREM', key, 'member')
try('DEL', key)
try('HSET', key, 'field', '1')
try('HINCRBY', key, 'field', 1)
try('HGET', key, 'field')
try('HDEL', key, 'field')
try('DEL', key)
try('PUBLISH', ARGV[1] .. 'changes', '')
try('XLEN', base .. 'records')
try('ZCARD', base .. 'expiry')
try('ZCARD', base .. 'unknown')
try('ZCARD', base .. 'waiting')
try('HGET', base .. 'accounts', '')
return refused
`;

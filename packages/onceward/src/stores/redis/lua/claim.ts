// The script that claims keys, many at once, and answers what it found (SPEC §4.1).

import { MEMBERS, PRELUDE } from "./prelude.js";

/**
 * After the prelude's arguments: from how many records of an account, and of a place, on it answers `A` or `S` instead of
 * making one more; and the claims: length of place, place, id, fence, age, whether the retention is an instant, the
 * retention, the lease, whether limits are not to be judged here, length of labels, labels.
 *
 * Each is answered `N` (new), `C` (one's own, with the value) or `F` (somebody else's, with the value), `A`, `S`, `L`
 * (untouched: the answer was getting too long, ask again), `M` (the record is elsewhere) or `E` (with the reason).
 */
export const CLAIM: string = `${PRELUDE}${MEMBERS}
local perAccount, perPlace, claims = tonumber(ARGV[4]), tonumber(ARGV[5]), ARGV[6]
local totals, madeRoom, touched = {}, {}, {}

local function limitOf(base, account)
  if perAccount <= tonumber(side('HGET', base .. 'accounts', account) or 0) then return 'A' end
  totals[base] = totals[base] or side('XLEN', base .. 'records') or 0
  if perPlace <= totals[base] then return 'S' end
end

-- Expired records make room before a claim is refused (SPEC 9.4); once for all claims of a place.
local function full(base, account)
  local limit = limitOf(base, account)
  if not limit or madeRoom[base] then return limit end
  madeRoom[base] = true
  clear(base, 500)
  totals[base] = nil
  return limitOf(base, account)
end

local function claim(base, id, fence, age, untilGiven, retention, leaseMs, unlimited, rest)
  local key = base .. 'r:' .. id
  local value = fetch('GET', key)
  local lease = now + leaseMs
  if value then
    local state, heldBy, held, expires = head(value)
    if expires > now or held > now then
      if state ~= RUNNING or heldBy ~= fence then return 'F', value end
      local bytes = struct.pack('>d', lease)
      redis.call('SETRANGE', key, 18, bytes)
      if lease > expires then redis.call('PEXPIREAT', key, deadline(expires, lease)) end
      return 'C', string.sub(value, 1, 18) .. bytes .. string.sub(value, 27)
    end
    forget(base, id, value)
    totals[base] = nil
  end
  local account = struct.unpack('>I4c0', rest)
  local limit = unlimited == 0 and full(base, account)
  if limit then return limit end
  -- As Math.round has it on the other side.
  local created = math.floor(now - age + 0.5)
  local expires = math.floor((untilGiven == 1 and retention or created + retention) + 0.5)
  local entry = enlist(base, id)
  put(key, RUNNING, fence, lease, expires, created, 0, 0, struct.pack('>I4c0', #entry, entry) .. rest, '')
  count(base, id, entry, account, math.max(expires, lease))
  if totals[base] then totals[base] = totals[base] + 1 end
  touched[base] = (touched[base] or 0) + 1
  return 'N'
end

local at = 1
while at <= #claims do
  local place, id, fence, age, untilGiven, retention, leaseMs, unlimited, rest, next =
    struct.unpack('>Bc0c64c16dBddBI4c0', claims, at)
  at = next
  if budget <= 0 then
    answer(true, 'L')
  else
    answer(pcall(claim, prefix .. place, id, fence, age, untilGiven, retention, leaseMs, unlimited, rest))
  end
end
-- So that a store is cleared up also where nobody purges.
for base, claimed in pairs(touched) do pcall(clear, base, 2 * claimed) end
return finish()
`;

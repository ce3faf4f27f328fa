-- Lets a lost store go: from now on what Redis holds is in force, under a new epoch.
--
-- KEYS  1 revision  2 epoch  3 canary  4 witnesses  5 replaced
-- ARGV  1 epoch of the lost store, as the operator names it  2 the new epoch  3 the time
--       4 the canary, if the store has none  5 the channel
--       6, 7 epoch ("" if none) and revision that the caller knows
-- Returns {"ok", revision} | {"kept"} if nothing is lost | {"other"} if that epoch is not
local epoch = redis.call('GET', KEYS[2]) or ''
local revision = tonumber(redis.call('GET', KEYS[1]) or '0')

local claims = redis.call('HGETALL', KEYS[4])
if ARGV[6] ~= '' then
  table.insert(claims, ARGV[6])
  table.insert(claims, ARGV[7])
end
local lost, named, top = {}, false, revision
for i = 1, #claims, 2 do
  local known, at = claims[i], tonumber(claims[i + 1])
  if (known ~= epoch or at > revision) and redis.call('HEXISTS', KEYS[5], known) == 0 then
    table.insert(lost, known)
    named = named or known == ARGV[1]
    top = math.max(top, at)
  end
end
if #lost == 0 then return {'kept'} end
if not named then return {'other'} end

-- Who holds any of them follows, and so does who has followed what Redis holds since.
if epoch ~= '' then table.insert(lost, epoch) end
for _, known in ipairs(lost) do redis.call('HSET', KEYS[5], known, ARGV[3]) end
redis.call('DEL', KEYS[4])
redis.call('SET', KEYS[2], ARGV[2])
redis.call('SET', KEYS[1], string.format('%d', top + 1)) -- no revision stands for two states
redis.call('SETNX', KEYS[3], ARGV[4])
redis.call('PUBLISH', ARGV[5], table.concat({ARGV[2], string.format('%d', top + 1), 'confirmed', '', ''}, ' '))
return {'ok', top + 1}

-- Ends one reservation in one bucket and corrects its counters, once: a second
-- run finds the reservation gone and changes nothing.
--
-- KEYS: [1] hash of counters, [2] sorted set of open reservations (reserve.lua)
-- ARGV: [1] the reservation's name, [2] Redis's clock at the reservation, ms,
--   then six corrections: rps rpm rph rpd tpm tpd, added to the windows of that
--   moment; a window that is over stays so.
-- Returns 1 if the reservation was open, else 0.
local names = {'rps', 'rpm', 'rph', 'rpd', 'tpm', 'tpd'}
local sizes = {1, 60, 3600, 86400, 60, 86400}
if redis.call('ZREM', KEYS[2], ARGV[1]) == 0 then return 0 end
local seconds = math.floor(tonumber(ARGV[2]) / 1000)
for d = 1, 6 do
  local add = ARGV[2 + d]
  if add ~= '0' then
    local field = string.format('%s:%d', names[d], math.floor(seconds / sizes[d]))
    if redis.call('HEXISTS', KEYS[1], field) == 1 then
      redis.call('HINCRBY', KEYS[1], field, add)
    end
  end
end
return 1

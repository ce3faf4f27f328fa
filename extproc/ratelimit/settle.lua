-- Ends one reservation in one bucket and corrects its counters, once: a second
-- run finds the reservation gone and changes nothing.
--
-- KEYS: [1] hash of counters, [2] sorted set of open reservations (reserve.lua)
-- ARGV: [1] the reservation's name, [2] corrections, each "<field> <seconds> <window>
--   <add> "; a window that is over stays so
-- Returns 1 if the reservation was open, else 0. Error BADCOUNT: as reserve.lua.
if not redis.call('ZSCORE', KEYS[2], ARGV[1]) then return 0 end
local write = {}
for field, window, add in string.gmatch(ARGV[2], '(%S+) %d+ (%d+) (%-?%d+)') do
  local value = redis.call('HGET', KEYS[1], field)
  if value then
    local of, is = string.match(value, '^(%d+):(%d+)$')
    if not of or #is > 16 then return redis.error_reply('BADCOUNT in a hash of counters') end
    if of == window then
      write[#write + 1] = field
      write[#write + 1] = string.format('%s:%d', window, math.min(math.max(0, is + add), 9007199254740991))
    end
  end
end
if #write > 0 then
  redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', '-inf') -- a Redis without memory takes the rest then (begin in reserve.lua)
  redis.call('HSET', KEYS[1], unpack(write))
end
redis.call('ZREM', KEYS[2], ARGV[1])
return 1

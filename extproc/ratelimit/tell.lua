-- Adds to one bucket what a process let in without Redis, once: a second run
-- finds the name and changes nothing.
--
-- KEYS: [1] hash of counters, [2] sorted set of open reservations (reserve.lua)
-- ARGV: [1] the name of the reservation, or of several together that are over
--   [2] how long it lives without a renewal, ms; 0: it is over
--   [3] how long the name is remembered after that, ms
--   [4] counts, each "<field> <seconds> <window> <add> "; those of windows that
--     are over are left out
-- Returns now, ms. Error BADCOUNT: as reserve.lua.
local life, grace = tonumber(ARGV[2]), tonumber(ARGV[3])
local time = redis.call('TIME')
local seconds = tonumber(time[1])
local now = seconds * 1000 + math.floor(tonumber(time[2]) / 1000)
if redis.call('ZSCORE', KEYS[2], ARGV[1]) then return now end
local write, expiry = {}, 0
for field, size, window, add in string.gmatch(ARGV[4], '(%S+) (%d+) (%d+) (%-?%d+)') do
  size = tonumber(size)
  if tonumber(window) == math.floor(seconds / size) then
    local count, value = 0, redis.call('HGET', KEYS[1], field)
    if value then
      local of, is = string.match(value, '^(%d+):(%d+)$')
      if not of or #is > 16 then return redis.error_reply('BADCOUNT in a hash of counters') end
      if of == window then count = tonumber(is) end
    end
    expiry = math.max(expiry, size * 1000 + grace)
    write[#write + 1] = field
    write[#write + 1] = string.format('%s:%.0f', window, math.min(math.max(0, count + add), 9007199254740991))
  end
end
redis.call('ZREMRANGEBYSCORE', KEYS[2], 0, now - grace) -- first, as reserve.lua
if #write > 0 then
  redis.call('HSET', KEYS[1], unpack(write))
  redis.call('PEXPIRE', KEYS[1], expiry)
end
redis.call('ZADD', KEYS[2], now + life, ARGV[1])
redis.call('PEXPIRE', KEYS[2], life + grace)
return now

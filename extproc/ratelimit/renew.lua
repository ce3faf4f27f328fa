-- Renews open reservations of one bucket, so that a long stream keeps its slot.
--
-- KEYS: [1] sorted set of open reservations
-- ARGV: [1] life without a renewal, ms, [2] remembered after that, ms,
--   [3] 1: those that are gone come back; 0: they do not, since they may have been
--   settled meanwhile, then the reservations' names
-- Returns the names that were gone.
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[1], 0, now - tonumber(ARGV[2])) -- first, as reserve.lua
local gone = {}
for i = 4, #ARGV do
  local here = redis.call('ZSCORE', KEYS[1], ARGV[i])
  if not here then gone[#gone + 1] = ARGV[i] end
  if here or ARGV[3] == '1' then redis.call('ZADD', KEYS[1], now + tonumber(ARGV[1]), ARGV[i]) end
end
redis.call('PEXPIRE', KEYS[1], tonumber(ARGV[1]) + tonumber(ARGV[2]))
return gone

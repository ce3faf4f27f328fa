-- Renews open reservations of one bucket, so that a long stream keeps its slot.
-- One that was settled meanwhile does not come back.
--
-- KEYS: [1] sorted set of open reservations
-- ARGV: [1] life without a renewal, ms, [2] remembered after that, ms,
--   then the reservations' names
-- Returns 0.
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
for i = 3, #ARGV do
  redis.call('ZADD', KEYS[1], 'XX', now + tonumber(ARGV[1]), ARGV[i])
end
redis.call('PEXPIRE', KEYS[1], tonumber(ARGV[1]) + tonumber(ARGV[2]))
return 0

-- Makes one bucket's keys countable: what is not ours is put aside or taken out,
-- and a counter that is gone begins again with what the caller knows of it.
--
-- KEYS: [1] hash of counters, [2] sorted set of open reservations (reserve.lua),
--   [3] [4] where a key of the wrong type goes in their place
-- ARGV: [1] how long that is kept, ms, [2] as reserve.lua's [3]
--   [3] counts, each "<field> <seconds> <window> <known> "
-- Returns what was wrong, a sentence each.
local wrong = {}
for i, kind in ipairs({'hash', 'zset'}) do
  local is = redis.call('TYPE', KEYS[i]).ok
  if is ~= 'none' and is ~= kind then
    redis.call('RENAME', KEYS[i], KEYS[i + 2])
    redis.call('PEXPIRE', KEYS[i + 2], ARGV[1])
    wrong[#wrong + 1] = string.format('%s was a %s, not a %s; it is kept as %s for a day', KEYS[i], is, kind, KEYS[i + 2])
  end
end
local values = redis.call('HGETALL', KEYS[1])
for i = 1, #values, 2 do
  local of, is = string.match(values[i + 1], '^(%d+):(%d+)$')
  if not of or #is > 16 then
    redis.call('HDEL', KEYS[1], values[i])
    wrong[#wrong + 1] = string.format('%s had a field without a count', KEYS[1])
  end
end

local seconds = tonumber(redis.call('TIME')[1])
local write, expiry = {}, 0
for field, size, window, known in string.gmatch(ARGV[3], '(%S+) (%d+) (%d+) (%d+)') do
  size = tonumber(size)
  if tonumber(window) == math.floor(seconds / size) then
    local value = redis.call('HGET', KEYS[1], field)
    if not value or string.match(value, '^%d+') ~= window then
      expiry = math.max(expiry, size * 1000 + tonumber(ARGV[2]))
      write[#write + 1] = field
      write[#write + 1] = window .. ':' .. known
    end
  end
end
if #write > 0 then
  redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', '-inf') -- first, as reserve.lua
  redis.call('HSET', KEYS[1], unpack(write))
  redis.call('PEXPIRE', KEYS[1], expiry)
end
return wrong

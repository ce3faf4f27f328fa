-- Reserves one call in every bucket, or in none: a refusal writes nothing.
--
-- KEYS: two per bucket, all of one hash slot on a cluster:
--   [2i-1] hash of counters, "<unit>:<seconds>" = "<window>:<used>"
--   [2i]   sorted set of open reservations, scored by when they expire (ms)
-- ARGV:
--   [1] the reservation's name, unique over all processes
--   [2] how long an open reservation lives without a renewal, ms
--   [3] how long it is remembered after that, ms
--   [3+i] the bucket's limits, each "<field> <seconds> <max> <add> ": the window's
--     size, 0 for open reservations, and what the call adds
-- Returns "<now, ms> <refusing limit> <used> <used> ...": the limit's place among
--   all, 0 for none; used of every limit, this call included if it was admitted.
-- Error BADCOUNT: a counter is no number (repair.lua).
--
-- Running it again with the same name changes nothing.
local member, life, grace = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local time = redis.call('TIME')
local seconds = tonumber(time[1])
local now = seconds * 1000 + math.floor(tonumber(time[2]) / 1000)

-- All is read before anything is written: a key of the wrong type harms nothing.
local used, after, writes, expiries, n = {}, {}, {}, {}, 0
local held, refused, longest = false, 0, -1
for i = 1, #KEYS / 2 do
  local counters, slots, write, expiry = KEYS[2 * i - 1], KEYS[2 * i], {}, 0
  held = redis.call('ZSCORE', slots, member) or held
  for field, size, max, add in string.gmatch(ARGV[3 + i], '(%S+) (%d+) (%d+) (%d+)') do
    size, max, add = tonumber(size), tonumber(max), tonumber(add)
    local count, wait, window = 0, 0
    if size == 0 then
      count = redis.call('ZCOUNT', slots, '(' .. now, now + life + grace)
    else
      window = math.floor(seconds / size)
      wait = (window + 1) * size * 1000 - now
      expiry = math.max(expiry, size * 1000 + grace)
      local value = redis.call('HGET', counters, field)
      if value then
        local of, is = string.match(value, '^(%d+):(%d+)$')
        if not of or #is > 16 then return redis.error_reply('BADCOUNT in a hash of counters') end
        if tonumber(of) == window then count = tonumber(is) end
      end
    end
    n = n + 1
    used[n], after[n] = count, string.format('%.0f', count + add)
    if window then
      write[#write + 1] = field
      write[#write + 1] = window .. ':' .. after[n]
    end
    if (count >= max or count + add > max) and wait > longest then refused, longest = n, wait end
  end
  writes[i], expiries[i] = write, expiry
end
if held or refused > 0 then
  for j = 1, n do used[j] = string.format('%.0f', used[j]) end
  return string.format('%.0f %d ', now, held and 0 or refused) .. table.concat(used, ' ')
end

for i = 1, #KEYS / 2 do
  -- First: a Redis without memory takes the rest of a script that has begun to write.
  redis.call('ZREMRANGEBYSCORE', KEYS[2 * i], '-inf', now - grace)
  if #writes[i] > 0 then
    redis.call('HSET', KEYS[2 * i - 1], unpack(writes[i]))
    redis.call('PEXPIRE', KEYS[2 * i - 1], expiries[i])
  end
end
for i = 1, #KEYS / 2 do -- last: who finds the name takes all to be done
  redis.call('ZADD', KEYS[2 * i], now + life, member)
  redis.call('PEXPIRE', KEYS[2 * i], life + grace)
end
return string.format('%.0f 0 ', now) .. table.concat(after, ' ')

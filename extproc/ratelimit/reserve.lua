-- Reserves one call in every bucket, or in none: a refusal writes nothing.
--
-- KEYS: two per bucket, all of one hash slot on a cluster:
--   [2i-1] hash of counters, fields "<dimension>:<window>"
--   [2i]   sorted set of open reservations, scored by when they expire (ms)
-- ARGV:
--   [1] the reservation's name, unique over all processes
--   [2] tokens to reserve
--   [3] how long an open reservation lives without a renewal, ms
--   [4] how long it is remembered after that, ms
--   then seven limits per bucket: rps rpm rph rpd tpm tpd concurrency; "" is none
-- Returns {now in ms, refusing bucket (1-based, 0 is none), its dimension
--   (1-based), then seven counts per bucket: used, this call included if it was
--   admitted; 0 where there is no limit}.
--
-- Running it again with the same name changes nothing (go-redis retries).
local names = {'rps', 'rpm', 'rph', 'rpd', 'tpm', 'tpd'}
local sizes = {1, 60, 3600, 86400, 60, 86400}
local member, tokens, ttl, grace = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])

local time = redis.call('TIME')
local seconds = tonumber(time[1])
local now = seconds * 1000 + math.floor(tonumber(time[2]) / 1000)
local fields, left = {}, {}
for d = 1, 6 do
  local window = math.floor(seconds / sizes[d])
  fields[d] = string.format('%s:%d', names[d], window)
  left[d] = (window + 1) * sizes[d] * 1000 - now
end

local held = redis.call('ZSCORE', KEYS[2], member)
local reply, longest, fresh = {now, 0, 0}, -1, {}
for i = 1, #KEYS / 2 do
  local counters = redis.call('HMGET', KEYS[2 * i - 1], unpack(fields))
  fresh[i] = {}
  for d = 1, 7 do
    local limit = tonumber(ARGV[4 + 7 * (i - 1) + d])
    local used, add, wait = 0, 1, 0
    if limit then
      if d == 7 then
        used = redis.call('ZCOUNT', KEYS[2 * i], '(' .. now, '+inf')
      else
        used, wait = tonumber(counters[d] or 0), left[d]
        fresh[i][d] = not counters[d]
      end
      if d == 5 or d == 6 then add = tokens end
      if not held and (used >= limit or used + add > limit) and wait > longest then
        reply[2], reply[3], longest = i, d, wait
      end
    end
    reply[#reply + 1] = used
  end
end
if held or reply[2] > 0 then return reply end

for i = 1, #KEYS / 2 do
  local counters, slots = KEYS[2 * i - 1], KEYS[2 * i]
  redis.call('ZREMRANGEBYSCORE', slots, '-inf', now - grace)
  redis.call('ZADD', slots, now + ttl, member)
  redis.call('PEXPIRE', slots, ttl + grace)
  local wrote = false
  for d = 1, 7 do
    local at = 3 + 7 * (i - 1) + d
    if tonumber(ARGV[1 + at]) then
      if d == 7 then
        reply[at] = reply[at] + 1
      else
        local add = '1'
        if d == 5 or d == 6 then add = ARGV[2] end
        wrote = true
        if fresh[i][d] then -- a new window: the counters of earlier ones go
          for _, field in ipairs(redis.call('HKEYS', counters)) do
            if string.sub(field, 1, 4) == names[d] .. ':' and field ~= fields[d] then
              redis.call('HDEL', counters, field)
            end
          end
        end
        reply[at] = redis.call('HINCRBY', counters, fields[d], add)
      end
    end
  end
  if wrote then redis.call('PEXPIRE', counters, 86400000 + grace) end
end
return reply

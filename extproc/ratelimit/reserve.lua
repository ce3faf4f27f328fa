-- Reserves one call in every bucket, or in none: a refusal leaves no trace. Before that,
-- and whatever comes of it, it ends reservations that are over in the same buckets, once
-- each: one that is gone changes nothing.
--
-- KEYS: two per bucket, all of one hash slot on a cluster:
--   [2i-1] hash of counters, "<unit>:<seconds>" = "<window>:<used>"
--   [2i]   sorted set of open reservations, scored by when they expire (ms). Its member ""
--          is none: minus its score is when the keys' own expiry was last put off (ms)
-- ARGV:
--   [1] the reservation's name, unique over all processes
--   [2] how long an open reservation lives without a renewal, ms
--   [3] how long it is remembered after that, ms
--   [3+i] the bucket's limits, each "<field> <seconds> <max> <add> ": the window's
--     size, 0 for open reservations, and what the call adds
--   then three for each reservation that is over: its bucket (i), its name, and
--     corrections, each "<limit> <window> <add> ", the limit by its place among all
-- Returns "<now, ms> <refusing limit> <used> <used> ...": the limit's place among
--   all, 0 for none; used of every limit, this call included if it was admitted.
-- Error BADCOUNT: a counter is no number (repair.lua).
--
-- Running it again with the same name changes nothing. It takes the fewest commands and
-- makes the fewest texts that it can: those are what it costs.
local call, gmatch, format, floor = redis.call, string.gmatch, string.format, math.floor
local member, life, grace = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local time = call('TIME')
local seconds = tonumber(time[1])
local now = seconds * 1000 + floor(time[2] / 1000)
local buckets = #KEYS / 2

-- Who is over, by bucket: names, and the places of their corrections in ARGV.
local over, corrections = {}, {}
for a = 4 + buckets, #ARGV, 3 do
  local i = tonumber(ARGV[a])
  if not over[i] then over[i], corrections[i] = {}, {} end
  table.insert(over[i], ARGV[a + 1])
  table.insert(corrections[i], a + 2)
end

-- All is read before anything is written: a key of the wrong type harms nothing.
local field, size, max, add, window, used = {}, {}, {}, {}, {}, {} -- by limit; the window as it is written
local last, n, held, stale, scores = {}, 0, false, {}, {}
for i = 1, buckets do
  local marks = call('ZMSCORE', KEYS[2 * i], '', member, unpack(over[i] or {}))
  local mark = marks[1] and -marks[1]
  stale[i] = not mark or mark > now or mark <= now - life
  held, scores[i] = held or marks[2], marks
  local fields, places = {}, {}
  for f, s, m, a in gmatch(ARGV[3 + i], '(%S+) (%d+) (%d+) (%d+)') do
    n = n + 1
    field[n], size[n], max[n], add[n] = f, tonumber(s), tonumber(m), tonumber(a)
    if s ~= '0' then fields[#fields + 1], places[#places + 1] = f, n end
  end
  last[i] = n
  if #fields > 0 then
    local values = call('HMGET', KEYS[2 * i - 1], unpack(fields))
    for j = 1, #fields do
      if values[j] then
        local of, is = string.match(values[j], '^(%d+):(%d+)$')
        if not of or #is > 16 then return redis.error_reply('BADCOUNT in a hash of counters') end
        window[places[j]], used[places[j]] = of, tonumber(is)
      else
        stale[i] = true -- a field that the keys' expiry may know nothing of
      end
    end
  end
end

local changed, freed = {}, {}
for i, names in pairs(over) do
  freed[i] = 0
  for j = 1, #names do
    local score = scores[i][j + 2] -- none: it is gone
    if score and tonumber(score) > now then freed[i] = freed[i] + 1 end
    for k, of, by in gmatch(score and ARGV[corrections[i][j]] or '', '(%d+) (%d+) (%-?%d+)') do
      k = tonumber(k)
      if window[k] == of then -- else it is over
        used[k] = math.min(math.max(0, used[k] + by), 9007199254740991)
        changed[i] = true
      end
    end
  end
end

local refused, longest, i, count = 0, -1, 1, {}
for k = 1, n do
  while k > last[i] do i = i + 1 end
  local wait = 0
  if size[k] == 0 then
    count[k] = call('ZCOUNT', KEYS[2 * i], '(' .. now, now + life + grace) - (freed[i] or 0)
  else
    local of = floor(seconds / size[k])
    wait = (of + 1) * size[k] * 1000 - now
    count[k] = tonumber(window[k]) == of and used[k] or 0
  end
  if (count[k] >= max[k] or count[k] + add[k] > max[k]) and wait > longest then refused, longest = k, wait end
end
if held then refused = 0 end
local admitted = refused == 0 and not held

-- begin makes the first write of a script. A Redis without memory refuses it, and takes
-- the rest once something was written that needs none.
local function begin(slots, ...)
  local reply = redis.pcall(...)
  if type(reply) == 'table' and reply.err then
    call('ZREMRANGEBYSCORE', slots, '-inf', '-inf')
    call(...)
  end
end

local k = 0
for i = 1, buckets do
  local counters, slots, write, longest = KEYS[2 * i - 1], KEYS[2 * i], {}, 0
  while k < last[i] do
    k = k + 1
    if admitted then
      count[k] = count[k] + add[k]
      if size[k] > 0 then
        local of = floor(seconds / size[k])
        if tonumber(window[k]) ~= of then window[k] = of end
        used[k], longest = count[k], math.max(longest, size[k])
      end
    end
    if window[k] then
      write[#write + 1] = field[k]
      write[#write + 1] = format('%s:%d', window[k], used[k])
    end
  end
  if (admitted or changed[i]) and #write > 0 then begin(slots, 'HSET', counters, unpack(write)) end
  if admitted and stale[i] then
    call('ZREMRANGEBYSCORE', slots, 0, now - grace)
    if longest > 0 then call('PEXPIRE', counters, longest * 1000 + grace) end
  end
end
-- Last: who finds the name takes all to be done, and who does not, all that ends it.
for i, names in pairs(over) do call('ZREM', KEYS[2 * i], unpack(names)) end
if admitted then
  for i = 1, buckets do
    if stale[i] then
      begin(KEYS[2 * i], 'ZADD', KEYS[2 * i], -now, '', now + life, member)
      call('PEXPIRE', KEYS[2 * i], 2 * life + grace)
    else
      begin(KEYS[2 * i], 'ZADD', KEYS[2 * i], now + life, member)
    end
  end
end
for k = 1, n do count[k] = format('%d', count[k]) end
return format('%d %d ', now, refused) .. table.concat(count, ' ')

-- Puts rows and indexes that were staged under other keys in force, in place of all that the store holds.
--
-- KEYS  1 revision  2 epoch  3 canary  4 witnesses  5 replaced  6 log  7 uses  8 uses as staged
--       9... of every kind: rows, ids, names, and those three as staged
-- ARGV  1 epoch and  2 revision of the copy  3 the new epoch  4 the time  5 the copy's canary  6 the channel
--       7 "1": what the store holds may be overwritten  8 how many uses were staged  9 n = epochs that the copy knows as replaced
--       10... those n epochs and times, and then how many rows, ids and names were staged, of every kind
-- Returns {"ok", revision} | {"full"} where rows are there | {"gone"} if what was staged is not all there any more
local n = tonumber(ARGV[9])
if ARGV[7] ~= '1' then
  for i = 9, #KEYS, 6 do
    if redis.call('HLEN', KEYS[i]) > 0 then return {'full'} end
  end
end
if redis.call('ZCARD', KEYS[8]) ~= tonumber(ARGV[8]) then return {'gone'} end
local at = 10 + 2 * n
for i = 9, #KEYS, 6 do
  if redis.call('HLEN', KEYS[i + 3]) ~= tonumber(ARGV[at]) or redis.call('ZCARD', KEYS[i + 4]) ~= tonumber(ARGV[at + 1])
    or redis.call('HLEN', KEYS[i + 5]) ~= tonumber(ARGV[at + 2]) then return {'gone'} end
  at = at + 3
end

redis.call('HLEN', KEYS[5]) -- what is of another type stops it here, before anything is changed
local top = math.max(tonumber(redis.call('GET', KEYS[1]) or '0'), tonumber(ARGV[2]))
local let_go = {ARGV[1]}
local epoch = redis.call('GET', KEYS[2])
if epoch then table.insert(let_go, epoch) end
local witnesses = redis.call('HGETALL', KEYS[4])
for i = 1, #witnesses, 2 do
  table.insert(let_go, witnesses[i])
  top = math.max(top, tonumber(witnesses[i + 1]) or 0)
end

local function swap(key, staged)
  redis.call('DEL', key)
  if redis.call('EXISTS', staged) == 1 then
    redis.call('RENAME', staged, key)
    redis.call('PERSIST', key)
  end
end
swap(KEYS[7], KEYS[8])
for i = 9, #KEYS, 6 do
  for j = 0, 2 do swap(KEYS[i + j], KEYS[i + j + 3]) end
end

-- Who holds the copy's store, the one that was here or one that was lost follows.
for i = 10, 9 + 2 * n, 2 do redis.call('HSETNX', KEYS[5], ARGV[i], ARGV[i + 1]) end
for _, known in ipairs(let_go) do redis.call('HSET', KEYS[5], known, ARGV[4]) end
redis.call('DEL', KEYS[4], KEYS[6])
redis.call('SET', KEYS[3], ARGV[5])
redis.call('SET', KEYS[2], ARGV[3])
redis.call('SET', KEYS[1], string.format('%d', top + 1)) -- no revision stands for two states
redis.call('PUBLISH', ARGV[6], table.concat({ARGV[3], string.format('%d', top + 1), 'restored', '', ''}, ' '))
return {'ok', top + 1}

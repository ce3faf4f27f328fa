-- Appends usage records to the stream and adds them to the totals of their day,
-- once per batch, however often the batch is sent.
--
-- A script is not rolled back, so it goes by steps, and the mark counts them: the
-- first write is the mark itself (where there is no memory, or no right to write,
-- that fails before anything is done), the last one says that all is done. A step
-- that fails ends the try with the number of steps before it in the mark, and the
-- batch sent again goes on from there. What is in the way because somebody else
-- wrote it (a key of another type, a field that is no number) is set aside under
-- another name, so that it holds up nobody.
--
-- KEYS: [1] the stream, [2] mark of this batch, [3] where a stream that is none is
--   set aside; then two per day: the totals hash, and where it is set aside
-- ARGV: [1] longest length of the stream (about), [2] life of the mark, s,
--   [3] life of a totals hash, s, [4] n = number of records, then the n records'
--   bytes, then per addition three: index into KEYS, field, amount
-- Returns a line for each thing that was set aside.
local mark, markLife, totalsLife = KEYS[2], ARGV[2], ARGV[3]
local n = tonumber(ARGV[4])
local additions = (#ARGV - 4 - n) / 3
local days = (#KEYS - 3) / 2
local steps = n + additions + days
local done = 0

local function failed(reply) return type(reply) == 'table' and reply.err end

local function wrongType(reply) return string.find(failed(reply), 'WRONGTYPE', 1, true) end

local seen = redis.pcall('GET', mark)
if failed(seen) and not wrongType(seen) then return seen end
if seen == '1' then return {} end
if type(seen) == 'string' then
  local at, of = string.match(seen, '^(%d+)/(%d+)$')
  if tonumber(of) == steps then done = tonumber(at) end
end

local aside = {}

-- rename sets a whole key aside.
local function rename(key, to, why)
  local reply = redis.pcall('RENAME', key, to)
  if failed(reply) then return reply end
  redis.pcall('EXPIRE', to, totalsLife)
  aside[#aside + 1] = key .. ' is now ' .. to .. ': ' .. why
end

-- move sets one field of a hash aside.
local function move(key, field, to, why)
  local reply = redis.pcall('HSET', to, field, redis.call('HGET', key, field))
  if failed(reply) then return reply end
  redis.pcall('EXPIRE', to, totalsLife)
  redis.call('HDEL', key, field)
  aside[#aside + 1] = 'a field of ' .. key .. ' is now in ' .. to .. ': ' .. why
end

local function append(i)
  local function add() return redis.pcall('XADD', KEYS[1], 'MAXLEN', '~', ARGV[1], '*', 'r', ARGV[4 + i]) end
  local reply = add()
  if failed(reply) and (wrongType(reply) or string.find(reply.err, 'exhausted', 1, true)) then
    reply = rename(KEYS[1], KEYS[3], reply.err) or add()
  end
  return reply
end

local function count(i)
  local at = 5 + n + 3 * (i - 1)
  local day, field, amount = tonumber(ARGV[at]), ARGV[at + 1], ARGV[at + 2]
  local key, to = KEYS[day], KEYS[day + 1]
  local function add() return redis.pcall('HINCRBY', key, field, amount) end
  local reply = add()
  if failed(reply) and wrongType(reply) then
    reply = rename(key, to, reply.err) or add()
  end
  if failed(reply) and (string.find(reply.err, 'not an integer', 1, true) or string.find(reply.err, 'overflow', 1, true)) then
    reply = move(key, field, to, reply.err) or add()
  end
  return reply
end

local function run(step)
  if step <= n then return append(step) end
  if step <= n + additions then return count(step - n) end
  return redis.pcall('EXPIRE', KEYS[2 + 2 * (step - n - additions)], totalsLife)
end

redis.call('SET', mark, done .. '/' .. steps, 'EX', markLife)
for step = done + 1, steps do
  local reply = run(step)
  if failed(reply) then
    redis.call('SET', mark, (step - 1) .. '/' .. steps, 'EX', markLife)
    return reply
  end
end
redis.call('SET', mark, '1', 'EX', markLife)
return aside

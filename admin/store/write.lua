-- Writes or deletes one resource if it has not moved on, and announces it.
--
-- KEYS  1 revision  2 epoch  3 canary  4 uses  5 witnesses  6 replaced  7 log
--       8 rows of the kind  9 its ids  10 its names  11... rows of the kinds of needs, in their order
--       and then rows, ids and names of every kind
-- ARGV  1 JSON {by, kind, id, expect, free, take, unlink, link, needs, unused, epoch, known}
--           by      who writes
--           expect  the row's revision as a string, "0" if it must not exist
--           free, take      names to give up and to take
--           unlink, link    members of uses to remove and to add
--           needs   {id, revision} of each resource that must be as it was read
--           unused  the id's own members of uses, as a range: there must be none
--           epoch   the store's epoch, if it has none yet
--           known   {epoch, revision} of the store that the writer knows, if it knows one
--       2 the row's JSON, "" to delete
--       3 the channel  4 the canary, if the store has none, "" from a writer that knows the store
-- Returns {"ok", revision, epoch} | {"moved"} | {"taken", name, holder} | {"needs"} | {"used", count, member...}
--         (of what uses it: how many there are, and 20 of them)
--       | {"lost"} if this is not the store that the writer or a witness knows, or is not whole
local op = cjson.decode(ARGV[1])
local row = ARGV[2]

local epoch, reached = redis.call('GET', KEYS[2]) or '', tonumber(redis.call('GET', KEYS[1]) or '0')
local function lost(known, revision)
  return (known ~= epoch or revision > reached) and redis.call('HEXISTS', KEYS[6], known) == 0
end
if op.known and lost(op.known.epoch, op.known.revision) then return {'lost'} end
local witnesses = redis.call('HGETALL', KEYS[5])
for i = 1, #witnesses, 2 do
  if lost(witnesses[i], tonumber(witnesses[i + 1])) then return {'lost'} end
end
if partial(11 + #(op.needs or {})) then return {'lost'} end

local function revision_of(rows, id)
  local stored = redis.call('HGET', rows, id)
  return stored and string.match(stored, '^(%d+) ') or '0'
end

if revision_of(KEYS[8], op.id) ~= op.expect then return {'moved'} end
for _, name in ipairs(op.take or {}) do
  local holder = redis.call('HGET', KEYS[10], name)
  if holder and holder ~= op.id then return {'taken', name, holder} end
end
for i, need in ipairs(op.needs or {}) do
  if revision_of(KEYS[10 + i], need.id) ~= need.revision then return {'needs'} end
end
if op.unused then
  local from, to = '[' .. op.unused .. '/', '(' .. op.unused .. '0'
  local used = redis.call('ZRANGEBYLEX', KEYS[4], from, to, 'LIMIT', 0, 20)
  if #used > 0 then return {'used', redis.call('ZLEXCOUNT', KEYS[4], from, to), unpack(used)} end
end

if epoch == '' then
  epoch = op.epoch
  redis.call('SET', KEYS[2], epoch)
  redis.call('SETNX', KEYS[3], ARGV[4])
end
local revision = redis.call('INCR', KEYS[1])
for _, name in ipairs(op.free or {}) do redis.call('HDEL', KEYS[10], name) end
for _, member in ipairs(op.unlink or {}) do redis.call('ZREM', KEYS[4], member) end
if row == '' then
  redis.call('HDEL', KEYS[8], op.id)
  redis.call('ZREM', KEYS[9], op.id)
else
  redis.call('HSET', KEYS[8], op.id, string.format('%d', revision) .. ' ' .. row)
  redis.call('ZADD', KEYS[9], 0, op.id)
end
for _, name in ipairs(op.take or {}) do redis.call('HSET', KEYS[10], name, op.id) end
for _, member in ipairs(op.link or {}) do redis.call('ZADD', KEYS[4], 0, member) end

-- For those that miss the announcement, and who ask who wrote. Where it has come to disagree with the revision it tells nothing.
if redis.pcall('XADD', KEYS[7], 'MAXLEN', '~', 10000, string.format('%d-0', revision), 'kind', op.kind, 'id', op.id, 'by', op.by).err then
  redis.call('DEL', KEYS[7])
end
-- An announcement: "<epoch> <revision> <kind> <id> <row JSON or nothing>".
redis.call('PUBLISH', ARGV[3], table.concat({epoch, string.format('%d', revision), op.kind, op.id, row}, ' '))
return {'ok', revision, epoch}

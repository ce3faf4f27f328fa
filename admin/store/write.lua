-- Writes or deletes one resource if it has not moved on, and announces it.
--
-- KEYS  1 revision  2 epoch  3 rows of the kind  4 ids of the kind  5 names of the kind
--       6 rows of the provider keys  7 uses  8 canary  9 witnesses  10 replaced
-- ARGV  1 JSON {kind, id, expect, free, take, unlink, link, need, unused, epoch}
--           expect  the row's revision as a string, "0" if it must not exist
--           free, take      names to give up and to take
--           unlink, link    members of uses to remove and to add
--           need    {id, revision} of a provider key that must be as it was read
--           unused  the id's own members of uses, as a range: there must be none
--           epoch   the store's epoch, if it has none yet
--           known   {epoch, revision} of the store that the writer knows, if it knows one
--       2 the row's JSON, "" to delete
--       3 the channel  4 the canary, if the store has none (it was emptied under a running admin)
-- Returns {"ok", revision, epoch} | {"moved"} | {"taken", name, holder} | {"needs"} | {"used", member...}
--       | {"lost"} if this is not the store that the writer or a witness knows
local op = cjson.decode(ARGV[1])
local row = ARGV[2]

local epoch, reached = redis.call('GET', KEYS[2]) or '', tonumber(redis.call('GET', KEYS[1]) or '0')
local function lost(known, revision)
  return (known ~= epoch or revision > reached) and redis.call('HEXISTS', KEYS[10], known) == 0
end
if op.known and lost(op.known.epoch, op.known.revision) then return {'lost'} end
local witnesses = redis.call('HGETALL', KEYS[9])
for i = 1, #witnesses, 2 do
  if lost(witnesses[i], tonumber(witnesses[i + 1])) then return {'lost'} end
end

local function revision_of(rows, id)
  local stored = redis.call('HGET', rows, id)
  return stored and string.match(stored, '^(%d+) ') or '0'
end

if revision_of(KEYS[3], op.id) ~= op.expect then return {'moved'} end
for _, name in ipairs(op.take or {}) do
  local holder = redis.call('HGET', KEYS[5], name)
  if holder and holder ~= op.id then return {'taken', name, holder} end
end
if op.need and revision_of(KEYS[6], op.need.id) ~= op.need.revision then return {'needs'} end
if op.unused then
  local used = redis.call('ZRANGEBYLEX', KEYS[7], '[' .. op.unused .. '/', '(' .. op.unused .. '0')
  if #used > 0 then
    table.insert(used, 1, 'used')
    return used
  end
end

if epoch == '' then
  epoch = op.epoch
  redis.call('SET', KEYS[2], epoch)
end
redis.call('SETNX', KEYS[8], ARGV[4])
local revision = redis.call('INCR', KEYS[1])
for _, name in ipairs(op.free or {}) do redis.call('HDEL', KEYS[5], name) end
for _, member in ipairs(op.unlink or {}) do redis.call('ZREM', KEYS[7], member) end
if row == '' then
  redis.call('HDEL', KEYS[3], op.id)
  redis.call('ZREM', KEYS[4], op.id)
else
  redis.call('HSET', KEYS[3], op.id, string.format('%d', revision) .. ' ' .. row)
  redis.call('ZADD', KEYS[4], 0, op.id)
end
for _, name in ipairs(op.take or {}) do redis.call('HSET', KEYS[5], name, op.id) end
for _, member in ipairs(op.link or {}) do redis.call('ZADD', KEYS[7], 0, member) end

-- An announcement: "<epoch> <revision> <kind> <id> <row JSON or nothing>".
redis.call('PUBLISH', ARGV[3], table.concat({epoch, string.format('%d', revision), op.kind, op.id, row}, ' '))
return {'ok', revision, epoch}

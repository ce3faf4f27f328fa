-- Lets a lost store go: from now on what Redis holds is in force, under a new epoch.
--
-- KEYS  1 revision  2 epoch  3 canary  4 witnesses  5 replaced  6 log  7 uses
--       8... rows, ids and names of every kind
-- ARGV  1 epoch of the lost store, as the operator names it  2 the new epoch  3 the time
--       4 the canary, if the store has none  5 the channel
--       6, 7 epoch ("" if none) and revision that the caller knows
--       8 what stands for the epoch of a store that has none
--       9... the member that holds names, of every kind
-- Returns {"ok", revision} | {"kept"} if nothing is lost | {"other"} if that epoch is not
local epoch = redis.call('GET', KEYS[2]) or ''
local revision = tonumber(redis.call('GET', KEYS[1]) or '0')

local claims = redis.call('HGETALL', KEYS[4])
if ARGV[6] ~= '' then
  table.insert(claims, ARGV[6])
  table.insert(claims, ARGV[7])
end
local lost, named, top = {}, false, revision
for i = 1, #claims, 2 do
  local known, at = claims[i], tonumber(claims[i + 1])
  if (known ~= epoch or at > revision) and redis.call('HEXISTS', KEYS[5], known) == 0 then
    table.insert(lost, known)
    named = named or known == ARGV[1]
    top = math.max(top, at)
  end
end
if partial(8) then
  local known = epoch ~= '' and epoch or ARGV[8]
  table.insert(lost, known)
  named = named or known == ARGV[1]
end
if #lost == 0 then return {'kept'} end
if not named then return {'other'} end

-- Makes the indexes of a kind agree with its rows. A row that tells no name, or only names that others have, takes its id for one.
local function mend(rows, ids, names, member)
  local holders = redis.call('HGETALL', names)
  local stored = redis.call('HGETALL', rows)
  redis.call('DEL', ids, names)
  local named_by = {}
  for i = 1, #holders, 2 do
    local id = holders[i + 1]
    named_by[id] = named_by[id] or {}
    table.insert(named_by[id], holders[i])
  end
  for i = 1, #stored, 2 do
    local id, mine = stored[i], {}
    local ok, row = pcall(cjson.decode, string.match(stored[i + 1], '^%d+ (.*)$') or '')
    if not ok then
      mine = named_by[id] or {}
    elseif type(row) == 'table' then
      for _, part in ipairs({row.value or false, row.previous or false}) do
        if type(part) == 'table' and type(part[member]) == 'string' then table.insert(mine, part[member]) end
      end
    end
    local held = 0
    for j = 1, math.min(#mine, 2) do held = held + redis.call('HSETNX', names, mine[j], id) end
    if held == 0 then redis.call('HSET', names, id, id) end
    redis.call('ZADD', ids, 0, id)
  end
end
local mended = false
for i = 8, #KEYS, 3 do
  if disagree(redis.call('HLEN', KEYS[i]), redis.call('ZCARD', KEYS[i + 1]), redis.call('HLEN', KEYS[i + 2])) then
    mend(KEYS[i], KEYS[i + 1], KEYS[i + 2], ARGV[9 + (i - 8) / 3])
    mended = true
  end
end
if mended then -- what is gone uses nothing
  for _, use in ipairs(redis.call('ZRANGE', KEYS[7], 0, -1)) do
    local id, there = string.match(use, '/(.*)$'), false
    for i = 8, #KEYS, 3 do there = there or redis.call('HEXISTS', KEYS[i], id) == 1 end
    if not there then redis.call('ZREM', KEYS[7], use) end
  end
end

-- Who holds any of them follows, and so does who has followed what Redis holds since.
if epoch ~= '' then table.insert(lost, epoch) end
for _, known in ipairs(lost) do redis.call('HSET', KEYS[5], known, ARGV[3]) end
redis.call('DEL', KEYS[4], KEYS[6])
redis.call('SET', KEYS[2], ARGV[2])
redis.call('SET', KEYS[1], string.format('%d', top + 1)) -- no revision stands for two states
redis.call('SETNX', KEYS[3], ARGV[4])
redis.call('PUBLISH', ARGV[5], table.concat({ARGV[2], string.format('%d', top + 1), 'confirmed', '', ''}, ' '))
return {'ok', top + 1}

-- Stands before the scripts that must know whether the store is whole, as tally.gap does in Go.
--
-- partial tells whether the rows, ids and names of a kind do not agree in number: KEYS from first on
-- are those three of each kind.
local function disagree(rows, ids, names) return rows ~= ids or names < rows or names > 2 * rows end
local function partial(first)
  for i = first, #KEYS, 3 do
    if disagree(redis.call('HLEN', KEYS[i]), redis.call('ZCARD', KEYS[i + 1]), redis.call('HLEN', KEYS[i + 2])) then return true end
  end
  return false
end

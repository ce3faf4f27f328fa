-- Appends usage records to the stream and adds them to the totals of their day,
-- all or nothing, once per batch.
--
-- KEYS: [1] the stream, [2] mark of this batch, then totals hashes, one per day
-- ARGV: [1] longest length of the stream (about), [2] life of the mark, s,
--   [3] life of a totals hash, s, [4] n = number of records, then the n records'
--   bytes, then per addition three: index into KEYS, field, amount
-- Returns 1, or 0 if the batch had been appended before.
if not redis.call('SET', KEYS[2], '1', 'NX', 'EX', ARGV[2]) then return 0 end
local n = tonumber(ARGV[4])
for i = 5, 4 + n do
  redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[1], '*', 'r', ARGV[i])
end
for i = 5 + n, #ARGV, 3 do
  redis.call('HINCRBY', KEYS[tonumber(ARGV[i])], ARGV[i + 1], ARGV[i + 2])
end
for i = 3, #KEYS do
  redis.call('EXPIRE', KEYS[i], ARGV[3])
end
return 1

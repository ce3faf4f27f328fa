-- Puts some fields of a day's totals back, once per batch, however often the batch is sent.
--
-- KEYS  1 the totals hash  2 mark of the day  3 mark of this batch
-- ARGV  1 "1": to be added to what is counted there already, else only where nothing is
--       2 life of the marks, s  3 when the totals end, Unix seconds  4... fields and amounts
-- Returns 1, or 0 where the day is left as it is.
if redis.call('EXISTS', KEYS[2]) == 0 then
  if ARGV[1] ~= '1' and redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
  redis.call('SET', KEYS[2], '1', 'EX', ARGV[2])
end
if redis.call('EXISTS', KEYS[3]) == 1 then return 1 end
redis.call('SET', KEYS[3], '1', 'EX', ARGV[2])
for i = 4, #ARGV, 2 do redis.call('HINCRBY', KEYS[1], ARGV[i], ARGV[i + 1]) end
if redis.call('TTL', KEYS[1]) < 0 then redis.call('EXPIREAT', KEYS[1], ARGV[3]) end
return 1

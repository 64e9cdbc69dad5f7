-- Makes the counters complete again after Redis lost them or was away: each is at least what PostgreSQL counts.
--
-- KEYS  1 the mark that the counters are complete, then the counters
-- ARGV  for each counter: what it is at least, seconds it is kept
for i = 2, #KEYS do
  local least = tonumber(ARGV[2 * i - 3])
  if (tonumber(redis.call('GET', KEYS[i]) or '0') or 0) < least then
    redis.call('SET', KEYS[i], least, 'EX', ARGV[2 * i - 2])
  end
end
redis.call('SET', KEYS[1], '1')
return 1

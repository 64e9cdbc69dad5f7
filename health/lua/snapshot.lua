-- KEYS[1]: the snapshot, a hash of service id to "milliseconds|record".
-- KEYS[2]: counts the changes of the registry; its value is the answer.
-- ARGV: service id, record, service id, record, …
-- Stamped with Redis' own clock, by which readers tell ages too: no host's clock takes part.
local now = redis.call('TIME')
local stamp = string.format('%d|', now[1] * 1000 + math.floor(now[2] / 1000))
for i = 1, #ARGV, 2 do
  redis.call('HSET', KEYS[1], ARGV[i], stamp .. ARGV[i + 1])
end
return redis.call('GET', KEYS[2]) or '0'

-- KEYS[1]: the lease. ARGV: who asks, for how many milliseconds.
-- 1: it is the caller's now, taken or prolonged; 0: it is somebody else's.
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then
  return 0
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1

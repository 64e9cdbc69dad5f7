-- A save is about to commit: from now on nothing older than its version gets into the cache (CF-2).
-- KEYS  1 entry  2 gate  3 attempt     ARGV  1 version  2 a name for this attempt
local gate = tonumber(redis.call('MGET', KEYS[2])[1] or '')
if not gate or gate < tonumber(ARGV[1]) then redis.call('SET', KEYS[2], ARGV[1]) end
redis.call('SET', KEYS[3], ARGV[2])
redis.call('DEL', KEYS[1])
return 1

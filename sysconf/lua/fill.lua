-- Put a reading into the cache, unless a newer version has been saved since it was read, or nobody knows (CF-2).
-- KEYS  1 entry  2 gate     ARGV  1 version  2 entry's text  3 seconds to live
-- Returns 1 if it was put there.
local gate = tonumber(redis.call('MGET', KEYS[2])[1] or '')
if not gate or tonumber(ARGV[1]) < gate then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'EX', ARGV[3])
return 1

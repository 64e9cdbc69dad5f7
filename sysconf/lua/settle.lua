-- Put gate and entry right, unless a save has begun since `attempt` was read (CF-2).
-- KEYS  1 entry  2 gate  3 attempt     ARGV  1 attempt as read, prefixed with '='; '-' for none
--       2 version  3 entry's text; empty for none  4 seconds to live
-- Returns 1 if it was done.
local attempt = redis.call('MGET', KEYS[3])[1]
local now = '-'
if attempt then now = '=' .. attempt end
if now ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[2], ARGV[2])
if ARGV[3] == '' then redis.call('DEL', KEYS[1]) else redis.call('SET', KEYS[1], ARGV[3], 'EX', ARGV[4]) end
return 1

-- Changes the breaker if, and only if, it is still what the caller saw. One atomic step (CB-5).
--
-- KEYS  1 state  2 last_trip_reason  3 last_trip_at  4 portal's own note  5 spool  6 reset cooldown  7 trip history
-- ARGV  1-3 what the caller saw in keys 1, 3 and 4; 4-7 new values of keys 1-4; 8 spool entry; 9 cooldown in seconds
--       (0 for none); 10 history member; 11 its score; 12 how many members the history keeps
-- Absent values are the single character '-'; present ones are prefixed with '='.
-- Returns {'ok', spool entry id; empty if none or not known} | {'changed'} | {'cooldown', milliseconds left}
local function value(text)
  if text == '-' then return nil end
  return string.sub(text, 2)
end

-- MGET answers nil for a key of another type, where GET would raise: a key spoilt by somebody reads as missing.
local now = redis.call('MGET', KEYS[1], KEYS[3], KEYS[4])
if now[3] and now[3] == value(ARGV[7]) then
  return {'ok', ''}  -- this very change was made already, and the answer was lost on the way
end
for i = 1, 3 do
  if (now[i] or nil) ~= value(ARGV[i]) then return {'changed'} end
end

if tonumber(ARGV[9]) > 0 and not redis.call('SET', KEYS[6], '1', 'NX', 'EX', ARGV[9]) then
  return {'cooldown', redis.call('PTTL', KEYS[6])}
end
for i = 1, 4 do
  local new = value(ARGV[3 + i])
  if new then redis.call('SET', KEYS[i], new) end
end
local id = ''
if value(ARGV[8]) then id = redis.call('XADD', KEYS[5], '*', 'transition', value(ARGV[8])) end
if value(ARGV[10]) then
  redis.call('ZADD', KEYS[7], ARGV[11], value(ARGV[10]))
  redis.call('ZREMRANGEBYRANK', KEYS[7], 0, -(tonumber(ARGV[12]) + 1))
end
return {'ok', id}

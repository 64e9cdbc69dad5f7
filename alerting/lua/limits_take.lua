-- Takes from the limits of a batch of deliveries, in their order: each takes from all of its limits or from none (AD-6).
--
-- KEYS  1 the mark that the counters are complete  2 the global minute
--       then for each delivery: its channel's minute, its recipient's hour, and that hour under the recipient's other
--       name, which counts as well (the same key again: it has no other name)
-- ARGV  1 the global limit  2 seconds a minute's counter is kept  3 seconds an hour's counter is kept
--       then for each delivery: its channel's limit (0: it has none), its recipient's limit
-- Returns {-1} when the counters are not complete; else one number for each delivery:
--       0 taken, 1 over its recipient's limit, 2 over its channel's, 3 over the global one. What is refused took nothing.
if redis.call('EXISTS', KEYS[1]) == 0 then return {-1} end

local function used(key)
  return tonumber(redis.call('GET', key) or '0') or 0
end
local function take(key, seconds)
  if redis.call('INCR', key) == 1 then redis.call('EXPIRE', key, seconds) end
end

local answers = {}
for i = 1, (#KEYS - 2) / 3 do
  local channel, recipient, other = KEYS[3 * i], KEYS[3 * i + 1], KEYS[3 * i + 2]
  local channel_limit, recipient_limit = tonumber(ARGV[2 * i + 2]), tonumber(ARGV[2 * i + 3])
  local sent = used(recipient)
  if other ~= recipient then sent = sent + used(other) end
  if sent >= recipient_limit then
    answers[i] = 1
  elseif channel_limit > 0 and used(channel) >= channel_limit then
    answers[i] = 2
  elseif used(KEYS[2]) >= tonumber(ARGV[1]) then
    answers[i] = 3
  else
    take(recipient, ARGV[3])
    if channel_limit > 0 then take(channel, ARGV[2]) end
    take(KEYS[2], ARGV[2])
    answers[i] = 0
  end
end
return answers

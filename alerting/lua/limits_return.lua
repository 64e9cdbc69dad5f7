-- Gives back what was taken and not used.
--
-- KEYS  the counters, each as often as it gets one back
for i = 1, #KEYS do
  if (tonumber(redis.call('GET', KEYS[i]) or '0') or 0) > 0 then redis.call('DECR', KEYS[i]) end
end
return 1

-- Removes an index entry, or moves it, if nobody has written it since its score was read.
--
-- KEYS[1] the index, a sorted set
-- ARGV[1] the member
-- ARGV[2] the score that was read
-- ARGV[3] the new score; "" removes the member
--
-- Returns 1 when done, 0 when another wrote the entry and it stands.
local now = redis.call('ZSCORE', KEYS[1], ARGV[1])
if not now or tonumber(now) ~= tonumber(ARGV[2]) then
  return 0
end
if ARGV[3] == '' then
  redis.call('ZREM', KEYS[1], ARGV[1])
else
  redis.call('ZADD', KEYS[1], ARGV[3], ARGV[1])
end
return 1

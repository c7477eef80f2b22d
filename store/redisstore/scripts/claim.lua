-- Takes, or keeps, the right to a piece of work, so that several processes do not all do the same. It is a courtesy, not a lock: two that
-- both believe they hold it do no harm.
--
-- KEYS[1] the claim
-- ARGV[1] who asks
-- ARGV[2] seconds it holds
--
-- Returns 1 when the claim is held by ARGV[1].
local who = redis.call('GET', KEYS[1])
if who and who ~= ARGV[1] then
  return 0
end
redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
return 1

-- Forgets a node, unless it has beaten again since it was found lost.
--
-- KEYS[1] the nodes, a hash: node to "<deadline ms> <drained 0 or 1> <last heartbeat ms>"
-- ARGV[1] the node
-- ARGV[2] the deadline it was found lost with
--
-- Returns 1 when it stays, because its deadline is later now, else 0.
local value = redis.call('HGET', KEYS[1], ARGV[1])
if not value then
  return 0
end
local deadline = tonumber(string.match(value, '^%d+'))
if deadline and deadline > tonumber(ARGV[2]) then
  return 1
end
redis.call('HDEL', KEYS[1], ARGV[1])
return 0

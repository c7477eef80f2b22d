-- Forgets a node, unless it has beaten again since it was found lost.
--
-- KEYS[1] the nodes, a hash: node to "<deadline ms> <drained 0 or 1>"
-- ARGV[1] the node
-- ARGV[2] the value it was found lost with; "" forgets it in any case
--
-- Returns 1 when it is forgotten.
if ARGV[2] ~= '' and redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then
  return 0
end
return redis.call('HDEL', KEYS[1], ARGV[1])

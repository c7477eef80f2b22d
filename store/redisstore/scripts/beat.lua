-- Says that a node lives, and what time the store has.
--
-- KEYS[1] the nodes, a hash: node to "<deadline ms> <drained 0 or 1> <last heartbeat ms>"
-- ARGV[1] the node
-- ARGV[2] its new value
--
-- Returns the value that stood before ("" for none).
local was = redis.call('HGET', KEYS[1], ARGV[1])
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
return was or ''

-- Writes down which app a set of keys belongs to, unless that is known.
--
-- KEYS[1] the record
-- ARGV[1] "app <id>"
-- ARGV[2] "1" takes it from another app
--
-- Returns the record that stands then.
local was = redis.call('GET', KEYS[1])
if was and string.sub(was, 1, 4) == 'app ' and ARGV[2] ~= '1' then
  return was
end
redis.call('SET', KEYS[1], ARGV[1])
return ARGV[1]

-- Writes the state of one peer if nobody has written it since it was read.
--
-- KEYS[1] the packed state
-- KEYS[2] the summary, in the same slot: "1" online, "0" offline, the recipe's own key and the change signal
-- ARGV[1] the revision that was read, the first 8 bytes of the state; "" for no state
-- ARGV[2] the new state; "" removes it
-- ARGV[3] seconds until the state is forgotten; "0" for never
-- ARGV[4] the new summary: "1", "0", "" to leave it alone, "-" to remove it
-- ARGV[5] seconds until the summary is forgotten; "0" for never
-- ARGV[6] the summary in place of KEYS[2], when both keys are nowhere yet and their slot is moving
--
-- Returns 1 when written, else the state that stands ("" for none).
local summary = KEYS[2] or ARGV[6]
local now = redis.pcall('GET', KEYS[1])
if type(now) == 'table' then -- a key of another type is no state, and is written over
  now = false
end
if (now and string.sub(now, 1, 8) or '') ~= ARGV[1] then
  return now or ''
end
if ARGV[2] == '' then
  redis.call('DEL', KEYS[1])
elseif ARGV[3] == '0' then
  redis.call('SET', KEYS[1], ARGV[2])
else
  redis.call('SET', KEYS[1], ARGV[2], 'EX', ARGV[3])
end
if ARGV[4] == '-' then
  redis.call('DEL', summary)
elseif ARGV[4] ~= '' then
  if ARGV[5] == '0' then
    redis.call('SET', summary, ARGV[4])
  else
    redis.call('SET', summary, ARGV[4], 'EX', ARGV[5])
  end
end
return 1

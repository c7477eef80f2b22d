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
-- A key of another type is no state and no summary. It is written over, and never only removed.
--
-- Returns 1 when written, 2 more when the state was of another type, 4 more when the summary was; else the state that
-- stands ("" for none).
local summary = KEYS[2] or ARGV[6]
local now = redis.pcall('GET', KEYS[1])
local odd = type(now) == 'table'
local done = 1
if odd then
  now = false
end
if (now and string.sub(now, 1, 8) or '') ~= ARGV[1] then
  return now or ''
end
if ARGV[2] ~= '' then
  if ARGV[3] == '0' then
    redis.call('SET', KEYS[1], ARGV[2])
  else
    redis.call('SET', KEYS[1], ARGV[2], 'EX', ARGV[3])
  end
  if odd then
    done = done + 2
  end
elseif not odd then
  redis.call('DEL', KEYS[1])
end
if ARGV[4] == '-' then
  if type(redis.pcall('GET', summary)) ~= 'table' then
    redis.call('DEL', summary)
  end
elseif ARGV[4] ~= '' then
  -- With GET it refuses another type, at no cost. Redis before 6.2 does not know that, and writes over another type unnoticed.
  local was
  if ARGV[5] == '0' then
    was = redis.pcall('SET', summary, ARGV[4], 'GET')
  else
    was = redis.pcall('SET', summary, ARGV[4], 'EX', ARGV[5], 'GET')
  end
  if type(was) == 'table' and was.err then
    if ARGV[5] == '0' then
      redis.call('SET', summary, ARGV[4])
    else
      redis.call('SET', summary, ARGV[4], 'EX', ARGV[5])
    end
    if string.sub(was.err, 1, 9) == 'WRONGTYPE' then
      done = done + 4
    end
  end
end
return done

-- One decision over several buckets (authsvc.domain.limits has the same algorithm, and says why).
-- A bucket is the time at which it will be full again, in seconds of this server's clock; a full one has no key.
--
-- KEYS: the buckets. ARGV[1]: "take" or "charge". Then four per bucket: seconds per token, seconds from empty to full,
-- cost, and 1 if an empty bucket waives the one behind it.
-- Returns the index of the bucket with the longest wait and that wait in microseconds, {0, 0} if none refuses.

local clock = redis.call('TIME')
local now = tonumber(clock[1]) + tonumber(clock[2]) / 1000000
local deciding = ARGV[1] == 'take'

local changes = {}
local refusing, longest, waived = 0, 0, false
for i, key in ipairs(KEYS) do
  local at = 1 + (i - 1) * 4
  local interval = tonumber(ARGV[at + 1])
  local depth = tonumber(ARGV[at + 2])
  local cost = tonumber(ARGV[at + 3])
  local waives = ARGV[at + 4] == '1'
  local full_at = math.max(tonumber(redis.call('GET', key) or '0'), now)
  -- A clock that was set back must not close a bucket for longer than emptying it would.
  full_at = math.min(full_at, now + depth)
  local counts = not waived
  waived = false
  if deciding then
    local wait = full_at + math.min(math.max(cost, 1) * interval, depth) - now - depth
    local empty = wait > 0.000001
    if waives then
      waived = empty
      counts = false
    elseif counts and empty and wait > longest then
      refusing, longest = i, wait
    end
  end
  if counts and cost ~= 0 then
    changes[#changes + 1] = {key, math.min(math.max(full_at + cost * interval, now), now + depth)}
  end
end

if refusing > 0 then
  return {refusing, math.ceil(longest * 1000000)}
end
for _, change in ipairs(changes) do
  local left = math.ceil((change[2] - now) * 1000)
  if left > 0 then
    redis.call('SET', change[1], string.format('%.6f', change[2]), 'PX', left)
  else
    redis.call('DEL', change[1])
  end
end
return {0, 0}

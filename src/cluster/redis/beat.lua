-- Renews the lease. args: lease, load.

local refusal = refused()
if refusal then
  return refusal
end
local time = now()
redis.call('ZADD', P .. 'alive', time, me)
redis.call('HSET', P .. 'loads', me, args.load)
local all = redis.call('ZRANGE', P .. 'alive', 0, -1, 'WITHSCORES')
local living, expired = {}, {}
for index = 1, #all, 2 do
  living[#living + 1] = all[index]
  if all[index] ~= me and is_dead(all[index], tonumber(all[index + 1]), time, args.lease) then
    expired[#expired + 1] = all[index]
  end
end
return { 'alive', living, expired }

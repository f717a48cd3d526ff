-- Registers an incarnation with its generation. args: known (the epoch that the caller knows), epoch (for an engine that has
-- none), engines (the list of engines), name, info, lease.

local epoch = redis.call('GET', P .. 'epoch')
if not epoch then
  epoch = args.epoch
  redis.call('SET', P .. 'epoch', epoch)
end
local is_alive = redis.call('ZSCORE', P .. 'alive', me)
if args.known == epoch and not is_alive then
  return { 'fenced' }
end
if tonumber(redis.call('HGET', P .. 'generations', me) or 0) > generation then
  return { 'stale' }
end
local time = now()
local function is_other_alive()
  local all = redis.call('ZRANGE', P .. 'alive', 0, -1, 'WITHSCORES')
  for index = 1, #all, 2 do
    if all[index] ~= me and not is_dead(all[index], tonumber(all[index + 1]), time, args.lease) then
      return true
    end
  end
  return false
end
local engines = redis.call('GET', P .. 'engines')
if engines ~= args.engines then
  if engines and is_other_alive() then
    return { 'engines', engines }
  end
  redis.call('SET', P .. 'engines', args.engines)
end
local owner = redis.call('HGET', P .. 'names', args.name)
if owner and owner ~= me then
  local beat = tonumber(redis.call('ZSCORE', P .. 'alive', owner) or 0)
  if time - beat <= args.lease and is_listening(owner) then
    return { 'name' }
  end
  if beat > 0 then
    -- The process is another one now: its predecessor is dead.
    redis.call('ZADD', P .. 'alive', 0, owner)
  end
end
redis.call('HSET', P .. 'names', args.name, me)
redis.call('HSET', P .. 'nodes', me, args.info)
redis.call('HSET', P .. 'generations', me, generation)
redis.call('ZADD', P .. 'alive', time, me)
return { 'welcome', epoch, redis.call('ZRANGE', P .. 'alive', 0, -1) }

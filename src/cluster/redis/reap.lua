-- Removes the members of a dead incarnation, some rooms at a time. args: dead, lease.

local refusal = refused()
if refusal then
  return refusal
end
local ROOMS = 64
local dead = args.dead
local beat = redis.call('ZSCORE', P .. 'alive', dead)
if not beat or not is_dead(dead, tonumber(beat), now(), args.lease) then
  return { 'reaped', 1 }
end
local rooms = redis.call('SRANDMEMBER', P .. 'of:' .. dead, ROOMS + 1)
for index = 1, min(#rooms, ROOMS) do
  local room = rooms[index]
  local record = load(room)
  if not record then
    redis.call('SREM', P .. 'of:' .. dead, room)
  else
    local members, gone = record.members, {}
    for _, member in ipairs(members) do
      if member.h == dead and not gone[member.c] then
        gone[member.c] = true
        remove(room, record, member.c, DISCONNECTED)
      end
    end
    if record.media == dead and #record.members > 0 then
      set_media(room, record, nil)
    end
  end
end
if #rooms > ROOMS then
  return { 'reaped', 0 }
end
redis.call('ZREM', P .. 'alive', dead)
redis.call('HDEL', P .. 'generations', dead)
redis.call('HDEL', P .. 'nodes', dead)
redis.call('HDEL', P .. 'loads', dead)
return { 'reaped', 1 }

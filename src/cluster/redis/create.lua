-- Creates a room that waits for its first member. args: room, founding, wait (milliseconds).

local refusal = refused()
if refusal then
  return refusal
end
if load(args.room) then
  return { 'denied', CLOSED, 0 }
end
local record = found(args.founding)
record.e = redis.call('INCR', P .. 'serial')
record.waits = true
redis.call('SET', P .. 'r:' .. args.room, cmsgpack.pack(record))
redis.call('ZADD', P .. 'rooms', record.at, args.room)
redis.call('ZADD', P .. 'waiting', now() + args.wait, args.room)
redis.call('DEL', P .. 'x:' .. args.room)
return { 'done' }

-- Reads rooms: those named, or a page, the newest first. args: rooms, or before and limit.

local names = args.rooms
local count = redis.call('ZCARD', P .. 'rooms')
if not names then
  names = redis.call('ZREVRANGEBYSCORE', P .. 'rooms', args.before, '-inf', 'LIMIT', 0, args.limit)
end
local found_rooms = {}
for _, room in ipairs(names) do
  local record = load(room)
  if record then
    found_rooms[#found_rooms + 1] = snapshot(room, record)
  end
end
return { 'rooms', count, found_rooms }

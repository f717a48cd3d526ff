-- Closes a room for all its members. args: room.

local refusal = refused()
if refusal then
  return refusal
end
local record = load(args.room)
if not record then
  return { 'denied', NOT_FOUND, 0 }
end
local before = holders(record)
record.v = record.v + 1
record.members, record.is_closed = {}, true
publish(before, entry('X', args.room, record, ''))
save(args.room, record, before)
return { 'done' }

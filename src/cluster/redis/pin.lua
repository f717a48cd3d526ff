-- Makes the caller the node with the media of a room, unless a living node is. args: room.

local refusal = refused()
if refusal then
  return refusal
end
local record = load(args.room)
local _, is_holder = holders(record)
if not is_holder[me] then
  return { 'denied', NOT_MEMBER, 0 }
end
if not record.media or not redis.call('ZSCORE', P .. 'alive', record.media) then
  set_media(args.room, record, me)
end
return { 'done' }

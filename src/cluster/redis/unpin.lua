-- Ends that the caller is the node with the media of a room. args: room.

local refusal = refused()
if refusal then
  return refusal
end
local record = load(args.room)
if record and record.media == me then
  set_media(args.room, record, nil)
end
return { 'done' }

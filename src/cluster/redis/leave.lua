-- Removes a member of the caller. args: room, connection, reason.

local refusal = refused()
if refusal then
  return refusal
end
local record = load(args.room)
for _, member in ipairs(record and record.members or {}) do
  if member.c == args.connection then
    if member.h == me then
      remove(args.room, record, args.connection, args.reason)
    end
    break
  end
end
return { 'done' }

-- Takes a member over from another node, whose session has moved to the caller. args: room, connection, nonce, from.

local refusal = refused()
if refusal then
  return refusal
end
local record = load(args.room)
for _, member in ipairs(record and record.members or {}) do
  if member.c == args.connection and member.n == args.nonce and member.h == args.from then
    local nodes, had_member = holders(record)
    record.v = record.v + 1
    member.h, member.s = me, record.v
    publish(nodes, entry('M', args.room, record, field(5, member.c) .. field(7, me)))
    if not had_member[me] then
      publish({ me }, snapshot(args.room, record))
    end
    save(args.room, record, nodes)
    return { 'done' }
  end
end
return { 'denied', NOT_MEMBER, 0 }

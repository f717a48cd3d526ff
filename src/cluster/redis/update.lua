-- Replaces the metadata of a member of the caller. args: room, connection, nonce, metadata.

local refusal = refused()
if refusal then
  return refusal
end
local record = load(args.room)
for _, member in ipairs(record and record.members or {}) do
  if member.c == args.connection and member.n == args.nonce and member.h == me then
    member.m = args.metadata
    record.v = record.v + 1
    local nodes = holders(record)
    publish(nodes, entry('U', args.room, record, field(15, member.c .. member.n) .. field(8, member.m)))
    save(args.room, record, nodes)
    break
  end
end
return { 'done' }

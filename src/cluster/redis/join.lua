-- Admits a member, unless the room is full. args: room, founding, may_create, unless_ended, member.

-- From this age on, in milliseconds, a join may have been overtaken by a later one of the same peer id: it has waited for
-- the engine. Younger ones are not compared, since the clocks of two nodes differ.
local WAITED = 250

local refusal = refused()
if refusal then
  return refusal
end
local room, new = args.room, args.member
local record = load(room)
local is_new = not record
if not record then
  if not args.may_create then
    return { 'denied', NOT_FOUND, 0 }
  end
  if args.unless_ended and redis.call('EXISTS', P .. 'x:' .. room) == 1 then
    return { 'denied', HAS_ENDED, 0 }
  end
  record = found(args.founding)
end
local old
for index, member in ipairs(record.members) do
  if member.c == new.c and member.n == new.n then
    return { 'done' }
  end
  if not old and (member.c == new.c or member.id == new.id) then
    old = index
  end
end
if old and record.members[old].j > new.j and now() - new.j > WAITED then
  return { 'denied', REPLACED, 0 }
end
if new.p and not record.pair and record.chosen then
  return { 'denied', NOT_FOR_PAIRS, 0 }
end
local most = capacity(record, new.p)
if #record.members - (old and 1 or 0) >= most then
  if new.p then
    return { 'full', most, (holders(record)) }
  end
  return { 'denied', FULL, most }
end
if is_new then
  record.e = redis.call('INCR', P .. 'serial')
end
local before, had_member = holders(record)
local replaced = ''
if old then
  replaced = field(5, record.members[old].c)
  remember_replaced(record, table.remove(record.members, old))
end
record.v = record.v + 1
new.s = record.v
table.insert(record.members, new)
publish(before, entry('J', room, record, field(4, member_fields(new)) .. replaced))
save(room, record, before)
if not had_member[me] then
  publish({ me }, snapshot(room, record))
end
return { 'done' }

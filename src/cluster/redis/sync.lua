-- Makes the engine's record of a room and the caller's replica agree. args: room, founding, may_create, serial, version,
-- members (each with `admitted` and `arriving`), media.

local refusal = refused()
if refusal then
  return refusal
end
local room = args.room
local record = load(room)
local before = holders(record)
local ended = tonumber(redis.call('GET', P .. 'x:' .. room) or 0)
local is_over = args.serial > 0 and ended >= args.serial
local out, has_changed, is_new = {}, false, false

local function refuse(member, why, most)
  out[#out + 1] = { member.c, member.n, why, most or 0 }
end

if record then
  local listed = {}
  for _, member in ipairs(args.members) do
    listed[member.c .. member.n] = true
  end
  local count = #record.members
  record.members = without(record.members, function(member)
    return member.h == me and not listed[member.c .. member.n]
  end)
  has_changed = #record.members ~= count
end

-- Puts a member of the caller back into the record. A new member is marked, and gets the version that this change results in.
local function put_back(member)
  for index, known in ipairs(record.members) do
    if known.c == member.c and known.n == member.n then
      if known.h ~= me and known.s > member.s then
        return refuse(member, REPLACED)
      end
      has_changed = has_changed or known.h ~= member.h or known.m ~= member.m
      member.s = max(known.s, member.s)
      record.members[index] = member
      return
    end
  end
  for _, replaced in ipairs(record.replaced or {}) do
    if replaced == member.c .. member.n then
      return refuse(member, REPLACED)
    end
  end
  local function is_same(other)
    return other.id == member.id or other.c == member.c
  end
  local same
  for _, other in ipairs(record.members) do
    if is_same(other) then
      same = other
      break
    end
  end
  if same then
    if same.j > member.j then
      return refuse(member, REPLACED)
    end
  elseif not member.admitted then
    local most = capacity(record, member.p)
    if #record.members >= most then
      return refuse(member, FULL, most)
    end
  end
  record.members = without(record.members, function(other)
    local is_replaced = is_same(other)
    if is_replaced then
      remember_replaced(record, other)
    end
    return is_replaced
  end)
  if not member.admitted then
    member.s = -1
  end
  table.insert(record.members, member)
  has_changed = true
end

for _, member in ipairs(args.members) do
  if member.arriving then
    -- Listed so that it was not removed above.
  elseif member.admitted and is_over then
    refuse(member, CLOSED)
  elseif not record and not member.admitted and not args.may_create then
    refuse(member, NOT_FOUND)
  else
    if not record then
      record = found(args.founding)
      record.e, record.v = args.serial, args.version
      has_changed, is_new = true, true
    end
    put_back(member)
  end
end
if not record or (record.waits and #record.members == 0) then
  return { 'synced', '', out }
end

local media = record.media
if is_new or args.serial > record.e or (args.serial == record.e and args.version > record.v) then
  -- The engine has lost what the caller knows.
  media = args.media
elseif media == me and args.media ~= me then
  media = nil
elseif args.media == me and not (media and redis.call('ZSCORE', P .. 'alive', media)) then
  media = me
end
has_changed = has_changed or media ~= record.media
record.media = media

local serial = max(record.e, args.serial)
has_changed = has_changed or serial ~= record.e or record.e == 0 or record.v < args.version
local last = tonumber(redis.call('GET', P .. 'serial') or 0)
record.e = serial == 0 and last + 1 or serial
if record.e > last then
  redis.call('SET', P .. 'serial', record.e)
end
if has_changed then
  record.v = max(record.v, args.version) + 1
end
for _, member in ipairs(record.members) do
  member.admitted, member.arriving = nil, nil
  if member.s == -1 then
    member.s = record.v
  end
end
save(room, record, before)
if has_changed then
  local others, set = {}, { [me] = true }
  for _, nodes in ipairs({ holders(record), before }) do
    for _, node in ipairs(nodes) do
      if not set[node] then
        set[node] = true
        others[#others + 1] = node
      end
    end
  end
  publish(others, snapshot(room, record))
end
return { 'synced', #record.members > 0 and snapshot(room, record) or '', out }

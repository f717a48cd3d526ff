-- Compares replicas of the caller with the rooms here, and removes members and media of incarnations that are not alive
-- from some rooms. args: rooms (each with `room`, `serial` and `version`), position (in the list of all rooms).

local refusal = refused()
if refusal then
  return refusal
end
local ROOMS = 100
local differing = {}
for _, replica in ipairs(args.rooms) do
  local record = load(replica.room)
  if not record or record.e ~= replica.serial or record.v ~= replica.version then
    differing[#differing + 1] = replica.room
  end
end
local known = {}
local function is_alive(node)
  if known[node] == nil then
    known[node] = redis.call('ZSCORE', P .. 'alive', node) and true
  end
  return known[node]
end
local rooms = redis.call('ZRANGE', P .. 'rooms', args.position, args.position + ROOMS - 1)
local removed = 0
for _, room in ipairs(rooms) do
  local record = load(room)
  local gone = {}
  for _, member in ipairs(record and record.members or {}) do
    if not is_alive(member.h) and not gone[member.c] then
      gone[member.c] = true
      remove(room, record, member.c, DISCONNECTED)
      removed = removed + 1
    end
  end
  if record and record.media and #record.members > 0 and not is_alive(record.media) then
    set_media(room, record, nil)
    removed = removed + 1
  end
end
return { 'audited', differing, #rooms < ROOMS and 0 or args.position + ROOMS, removed }

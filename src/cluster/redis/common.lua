-- The beginning of every script.
--
-- KEYS[1] is the prefix of all keys. ARGV: the incarnation of the caller (8 bytes), its generation, and the arguments as
-- MessagePack. Incarnations and nonces are 8 bytes, connections 16. A room is one value: its properties and its members in
-- the order they joined. Log entries are written here in the form that `frame.rs` reads.

local P = KEYS[1]
local me, generation = ARGV[1], tonumber(ARGV[2])
local args = cmsgpack.unpack(ARGV[3])
local char, floor, max, min = string.char, math.floor, math.max, math.min

-- A node whose inbox has no subscriber is gone after this time, in milliseconds.
local GONE = 3000
-- How long the end of a room is remembered, in seconds.
local ENDED = 3600
-- How many replaced members a room remembers.
local MAX_REPLACED = 8

local FULL, NOT_FOUND, HAS_ENDED, NOT_FOR_PAIRS, CLOSED, REPLACED, NOT_MEMBER = 0, 1, 2, 3, 4, 5, 6
local DISCONNECTED, HUNG_UP = 1, 6

local function now()
  local time = redis.call('TIME')
  return time[1] * 1000 + floor(time[2] / 1000)
end

-- Returns the refusal of a caller that was declared dead, or that has a later connection.
local function refused()
  -- Removed together with the lease.
  local latest = redis.call('HGET', P .. 'generations', me)
  if not latest then
    return { 'fenced' }
  end
  if tonumber(latest) ~= generation then
    return { 'stale' }
  end
end

local function inbox(node)
  return P .. string.format('i:%02x%02x%02x%02x%02x%02x%02x%02x', node:byte(1, 8))
end

local function is_listening(node)
  local counted = redis.pcall('PUBSUB', 'NUMSUB', inbox(node))
  -- Without the permission to ask, it may be.
  return type(counted) ~= 'table' or counted.err ~= nil or tonumber(counted[2]) ~= 0
end

local function is_dead(node, beat, time, lease)
  local age = time - beat
  return age > lease or (age > GONE and not is_listening(node))
end

local function field(tag, value)
  local length = #value
  if length < 128 then
    return char(tag, length) .. value
  end
  local head = char(tag)
  while length >= 128 do
    head = head .. char(length % 128 + 128)
    length = floor(length / 128)
  end
  return head .. char(length) .. value
end

local function number(tag, value)
  if value == 0 then
    return char(tag, 0)
  elseif value < 256 then
    return char(tag, 1, value)
  end
  local bytes = ''
  while value > 0 do
    bytes = char(value % 256) .. bytes
    value = floor(value / 256)
  end
  return field(tag, bytes)
end

local function flags(pair, chosen)
  return (pair and 1 or 0) + (chosen and 2 or 0)
end

local function member_fields(member)
  return field(15, member.c .. member.n) .. field(7, member.h) .. number(12, member.s) .. number(13, member.j)
    .. number(11, flags(member.p, false)) .. field(14, member.id) .. field(8, member.m)
end

-- Returns a log entry of a kind, with its own fields.
local function entry(kind, room, record, fields)
  return '\1' .. kind .. field(1, room) .. number(2, record.e) .. number(3, record.v) .. fields
end

local function snapshot(room, record)
  local parts = { number(9, record.at) .. number(11, flags(record.pair, record.chosen)) .. number(10, record.cap) }
  for _, member in ipairs(record.members) do
    parts[#parts + 1] = field(4, member_fields(member))
  end
  parts[#parts + 1] = record.media and field(16, record.media) or ''
  return entry('S', room, record, table.concat(parts))
end

local function load(room)
  local value = redis.call('GET', P .. 'r:' .. room)
  return value and cmsgpack.unpack(value)
end

-- Returns the nodes with a member in a room, or with its media, as a list and as a set.
local function holders(record)
  local list, set = {}, {}
  local function add(node)
    if node and not set[node] then
      set[node] = true
      list[#list + 1] = node
    end
  end
  for _, member in ipairs(record and record.members or {}) do
    add(member.h)
  end
  add(record and record.media)
  return list, set
end

local function publish(nodes, message)
  for _, node in ipairs(nodes) do
    redis.call('PUBLISH', inbox(node), message)
  end
end

-- Stores a room that these nodes had members in before, or the media of; without members it ends.
local function save(room, record, before)
  if #record.members == 0 then
    record.media = nil
  end
  local after, has_member = holders(record)
  local had_member = {}
  for _, node in ipairs(before) do
    had_member[node] = true
    if not has_member[node] then
      redis.call('SREM', P .. 'of:' .. node, room)
    end
  end
  for _, node in ipairs(after) do
    if not had_member[node] then
      redis.call('SADD', P .. 'of:' .. node, room)
    end
  end
  if #record.members > 0 then
    if record.waits then
      record.waits = nil
      redis.call('ZREM', P .. 'waiting', room)
    end
    redis.call('SET', P .. 'r:' .. room, cmsgpack.pack(record))
    -- Else it is listed already.
    if #before == 0 then
      redis.call('ZADD', P .. 'rooms', record.at, room)
    end
    return
  end
  redis.call('DEL', P .. 'r:' .. room)
  redis.call('ZREM', P .. 'rooms', room)
  redis.call('ZREM', P .. 'waiting', room)
  if record.pair or record.is_closed then
    redis.call('SET', P .. 'x:' .. room, record.e, 'EX', ENDED)
  end
end

local function without(members, is_out)
  local rest = {}
  for _, member in ipairs(members) do
    if not is_out(member) then
      rest[#rest + 1] = member
    end
  end
  return rest
end

-- Remembers that a member of another node was replaced. That node may have missed it, and would put the member back.
local function remember_replaced(record, member)
  if member.h ~= me then
    local replaced = record.replaced or {}
    replaced[#replaced + 1] = member.c .. member.n
    if #replaced > MAX_REPLACED then
      table.remove(replaced, 1)
    end
    record.replaced = replaced
  end
end

-- Removes one member, and tells the nodes.
local function remove(room, record, connection, reason)
  local before = holders(record)
  record.members = without(record.members, function(member)
    return member.c == connection or (record.pair and reason == HUNG_UP)
  end)
  record.v = record.v + 1
  publish(before, entry('L', room, record, field(5, connection) .. number(6, reason)))
  save(room, record, before)
end

-- Changes the node with the media of a room, and tells the nodes.
local function set_media(room, record, media)
  local before = holders(record)
  record.media = media
  record.v = record.v + 1
  publish(before, entry('P', room, record, media and field(16, media) or ''))
  save(room, record, before)
end

-- Returns the maximum number of peers for one that joins over `/signal`, or not.
local function capacity(record, pair)
  local is_for_two = pair or record.pair
  for _, member in ipairs(record.members) do
    is_for_two = is_for_two or member.p
  end
  return is_for_two and min(record.cap, 2) or record.cap
end

local function found(founding)
  return { e = 0, v = 0, cap = founding.cap, chosen = founding.chosen, at = founding.at, pair = founding.pair, members = {} }
end

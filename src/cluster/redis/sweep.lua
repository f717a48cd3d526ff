-- Removes rooms that have waited for their first member for too long.

local refusal = refused()
if refusal then
  return refusal
end
local rooms = redis.call('ZRANGEBYSCORE', P .. 'waiting', '-inf', now(), 'LIMIT', 0, 100)
for _, room in ipairs(rooms) do
  redis.call('ZREM', P .. 'waiting', room)
  redis.call('DEL', P .. 'r:' .. room)
  redis.call('ZREM', P .. 'rooms', room)
end
return { 'done' }

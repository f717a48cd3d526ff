-- Removes an incarnation that has no members any more.

local refusal = refused()
if refusal then
  return refusal
end
redis.call('ZREM', P .. 'alive', me)
redis.call('HDEL', P .. 'generations', me)
redis.call('HDEL', P .. 'nodes', me)
redis.call('HDEL', P .. 'loads', me)
return { 'done' }

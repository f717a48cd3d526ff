-- Lists the living nodes: incarnation, name, address and load of each. args: secret (for an engine that has none).

local secret = redis.call('GET', P .. 'secret')
if not secret then
  secret = args.secret
  redis.call('SET', P .. 'secret', secret)
end
local nodes = {}
for _, node in ipairs(redis.call('ZRANGE', P .. 'alive', 0, -1)) do
  local info = redis.call('HGET', P .. 'nodes', node)
  if info then
    local known = cjson.decode(info)
    nodes[#nodes + 1] = { node, known.name, known.address, redis.call('HGET', P .. 'loads', node) or '' }
  end
end
return { 'nodes', redis.call('ZCARD', P .. 'rooms'), secret, nodes }

-- Closes Kong's administration API to everything but reading what holds no secret. Runs before Kong's own handler.
--
-- Without a database Kong still takes `POST /config`, which replaces everything. It shows the keys of tokens and the
-- password of Redis, and names any web origin as allowed.
local headers = ngx.req.get_headers()

local function refuse(status, message)
  ngx.status = status
  ngx.header["Content-Type"] = "application/json; charset=utf-8"
  ngx.print('{"message":"' .. message .. '"}')
  return ngx.exit(status)
end

local method = ngx.req.get_method()
if method ~= "GET" and method ~= "HEAD" then
  ngx.header["Allow"] = "GET, HEAD"
  return refuse(405, "the administration API is read-only")
end

-- A web page that is open on the operator's machine: its requests name an origin, or a host name of its own.
local host = ngx.var.host
if headers["Origin"] or not (host == "localhost" or host == "127.0.0.1" or host == "[::1]") then
  return refuse(403, "for operators alone, as localhost")
end

-- Plugins, consumers and the configuration hold passwords and keys.
for _, readable in ipairs({ "^/$", "^/status$", "^/(services|routes)(/[A-Za-z0-9._-]+)?$" }) do
  if ngx.re.find(ngx.var.uri, readable, "jo") then
    return
  end
end
return refuse(403, "not shown: it may hold secrets")

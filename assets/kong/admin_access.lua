-- Restricts Kong's Admin API to reads that return no secrets. Runs before Kong's own handler.
--
-- Even without a database, Kong accepts `POST /config`, which replaces the whole configuration. The Admin API
-- also returns the keys of tokens and Redis' password, and allows every web origin.
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

-- A web page in the operator's browser: its requests have an Origin header or another host name.
local host = ngx.var.host
if headers["Origin"] or not (host == "localhost" or host == "127.0.0.1" or host == "[::1]") then
  return refuse(403, "for operators alone, as localhost")
end

-- Plugins, consumers and the configuration contain passwords and keys.
for _, readable in ipairs({ "^/$", "^/status$", "^/(services|routes)(/[A-Za-z0-9._-]+)?$" }) do
  if ngx.re.find(ngx.var.uri, readable, "jo") then
    return
  end
end
return refuse(403, "not shown: it may hold secrets")

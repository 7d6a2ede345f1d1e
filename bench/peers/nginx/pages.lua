-- The two pages. Fetches are subrequests to /api, which is a pool of kept connections.

local cjson = require "cjson"
local template = require "template"

local capture, capture_multi = ngx.location.capture, ngx.location.capture_multi
local decode = cjson.decode

local pages = {}
local user_template, list_template

-- Once, in the master: the worker inherits compiled templates.
function pages.load(directory)
    user_template = template.compile(directory .. "/user.html")
    list_template = template.compile(directory .. "/list.html")
end

local function send(html)
    ngx.header.content_length = #html
    ngx.print(html)
end

local function fail()
    return ngx.exit(ngx.HTTP_BAD_GATEWAY)
end

function pages.user()
    local response = capture("/api" .. ngx.var.uri)
    if response.status ~= 200 then
        return fail()
    end
    send(user_template({ page = decode(response.body) }))
end

function pages.list()
    local response = capture("/api" .. ngx.var.uri)
    if response.status ~= 200 then
        return fail()
    end
    local list = decode(response.body)
    local requests = {}
    for i, number in ipairs(list.items) do
        requests[i] = { "/api/items/" .. number }
    end
    local responses = { capture_multi(requests) }
    local items = {}
    for i, item in ipairs(responses) do
        if item.status ~= 200 then
            return fail()
        end
        items[i] = decode(item.body)
    end
    send(list_template({ list = list, items = items }))
end

return pages

-- Compiles a template file to a Lua function that makes a page of a context.
--
--   {{ expression }}   its value, with the characters escaped that mean something in HTML
--   {% statement %}    Lua: for ... do, if ... then, end

local find, gsub, sub = string.find, string.gsub, string.sub
local format, tostring, type = string.format, tostring, type

local ENTITIES = {
    ["&"] = "&amp;",
    ["<"] = "&lt;",
    [">"] = "&gt;",
    ['"'] = "&quot;",
    ["'"] = "&#39;",
}
local SPECIAL = "[&<>\"']"

local function escape(value)
    if type(value) ~= "string" then
        return tostring(value)
    end
    -- Most texts have nothing to escape, and finding that out is much cheaper.
    if not find(value, SPECIAL) then
        return value
    end
    return (gsub(value, SPECIAL, ENTITIES))
end

local function append(code, text)
    if text ~= "" then
        code[#code + 1] = format("n = n + 1 out[n] = %q", text)
    end
end

local function translate(source)
    local code = { "local escape, concat, ipairs = ...", "return function(context)" }
    code[#code + 1] = "local page, list, items = context.page, context.list, context.items"
    code[#code + 1] = "local out, n = {}, 0"
    local at = 1
    while true do
        local first, last, kind, inner = find(source, "{([{%%])%s*(.-)%s*[}%%]}", at)
        if not first then
            break
        end
        append(code, sub(source, at, first - 1))
        if kind == "{" then
            code[#code + 1] = format("n = n + 1 out[n] = escape(%s)", inner)
        else
            code[#code + 1] = inner
        end
        at = last + 1
    end
    append(code, sub(source, at))
    code[#code + 1] = "return concat(out) end"
    return table.concat(code, "\n")
end

local function compile(path)
    local file = assert(io.open(path, "rb"))
    local source = file:read("*a")
    file:close()
    return assert(loadstring(translate(source), "@" .. path))(escape, table.concat, ipairs)
end

return { compile = compile }

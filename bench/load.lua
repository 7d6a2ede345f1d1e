-- Asks for one page after the other, so that no two in a row are the same, or for one page over
-- and over; tells the outcome as JSON.
--
--     wrk ... -s load.lua URL -- /users/        -- /users/0, /users/1, ...
--     wrk ... -s load.lua URL -- /users/42 hot  -- always /users/42
local path, hot
local n = 0

init = function(arguments)
  path = arguments[1] or "/users/"
  hot = arguments[2] == "hot"
end

request = function()
  if hot then return wrk.format("GET", path) end
  n = n + 1
  return wrk.format("GET", path .. (n % 100000))
end

done = function(summary, latency)
  local e = summary.errors
  io.write(string.format(
    '\n{"requests":%d,"seconds":%.6f,"mean":%.3f,"p50":%.3f,"p90":%.3f,"p99":%.3f,' ..
    '"p999":%.3f,"max":%.3f,"connect":%d,"read":%d,"write":%d,"status":%d,"timeout":%d}\n',
    summary.requests, summary.duration / 1e6, latency.mean / 1e3, latency:percentile(50) / 1e3,
    latency:percentile(90) / 1e3, latency:percentile(99) / 1e3, latency:percentile(99.9) / 1e3,
    latency.max / 1e3, e.connect, e.read, e.write, e.status, e.timeout))
end

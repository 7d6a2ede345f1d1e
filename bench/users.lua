-- Asks for one user after the other, so that no two pages in a row are the same.
local n = 0

request = function()
  n = n + 1
  return wrk.format("GET", "/users/" .. (n % 100000))
end

-- Allocations for wrk: every request has job identifiers of its own and the bearer token of the next tenant.
--
-- Environment, written by benchmarks/load.py:
--   BENCH_TOKENS  file with one bearer token a line
--   BENCH_BODY    the JSON body, in which BENCH_SLOT stands for the number of the request
--   BENCH_SLOT    the placeholder, as wide as the number, so that every body has the same length
--
-- The script keeps one counter and is meant for one thread (wrk -t1).

local heads, pieces = {}, {}
local slot_format
local sent = 0

local function setting(name)
  return os.getenv(name) or error(name .. " is not set")
end

-- All that stays the same from request to request is put together once, so that the generator costs little beside what
-- it measures: a head for each token, and the pieces of the body between which the number stands.
function init(_)
  local body, slot = setting("BENCH_BODY"), setting("BENCH_SLOT")
  slot_format = "%0" .. #slot .. "d"
  for token in io.lines(setting("BENCH_TOKENS")) do
    local headers = {
      ["Host"] = wrk.headers["Host"],
      ["Authorization"] = "Bearer " .. token,
      ["Content-Type"] = "application/json",
    }
    local request = wrk.format("POST", nil, headers, body)
    heads[#heads + 1] = string.sub(request, 1, #request - #body)
  end
  local from = 1
  local first, last = string.find(body, slot, from, true)
  while first do
    pieces[#pieces + 1] = string.sub(body, from, first - 1)
    from = last + 1
    first, last = string.find(body, slot, from, true)
  end
  pieces[#pieces + 1] = string.sub(body, from)
end

function request()
  local tenant = sent % #heads + 1
  sent = sent + 1
  return heads[tenant] .. table.concat(pieces, string.format(slot_format, sent))
end

-- One line that load.py parses. wrk counts microseconds.
function done(summary, latency, _)
  local errors = summary.errors
  io.write(string.format(
    "bench-result requests=%d duration_us=%d p50_us=%d p99_us=%d status=%d connect=%d read=%d write=%d timeout=%d\n",
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
    errors.status, errors.connect, errors.read, errors.write, errors.timeout))
end

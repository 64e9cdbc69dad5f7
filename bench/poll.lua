-- One GET per request, each with the header of the next caller; prints one JSON line at the end.
-- Environment: BENCH_HEADER (its name), BENCH_CALLERS (file, its value for one caller a line), BENCH_CONNECTIONS, BENCH_STATUS (any other answer is counted
-- as wrong: a quick redirect to the sign-in must not pass as a card), BENCH_ETAG (may be empty), BENCH_PAUSE_MS.
local requests, position = {}, 0
local pause = tonumber(os.getenv("BENCH_PAUSE_MS") or "0")
local wanted = tonumber(os.getenv("BENCH_STATUS"))
local threads = {}
wrong = 0 -- global: done() reads it from the thread

function setup(thread)
   threads[#threads + 1] = thread
end

function init(args)
   local etag = os.getenv("BENCH_ETAG") or ""
   for caller in io.lines(os.getenv("BENCH_CALLERS")) do
      local headers = { [os.getenv("BENCH_HEADER")] = caller, ["HX-Request"] = "true", ["Accept"] = "*/*" }
      if etag ~= "" then headers["If-None-Match"] = etag end
      requests[#requests + 1] = wrk.format("GET", nil, headers)
   end
end

function request()
   position = position % #requests + 1
   return requests[position]
end

function response(status)
   if status ~= wanted then wrong = wrong + 1 end
end

if pause > 0 then
   local calls, connections = 0, tonumber(os.getenv("BENCH_CONNECTIONS"))
   -- The first polls are spread over the interval, as browsers that were opened at different times are.
   function delay()
      calls = calls + 1
      if calls <= connections then return math.floor(pause * calls / connections) end
      return pause
   end
end

function done(summary, latency)
   local wrong_answers = 0
   for _, thread in ipairs(threads) do wrong_answers = wrong_answers + thread:get("wrong") end
   io.write(string.format(
      'BENCH {"requests": %d, "microseconds": %d, "p50_us": %d, "p95_us": %d, "p99_us": %d, "max_us": %d, "errors": %d, "wrong": %d}\n',
      summary.requests, summary.duration, latency:percentile(50), latency:percentile(95), latency:percentile(99),
      latency.max,
      summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.status
         + summary.errors.timeout,
      wrong_answers))
end

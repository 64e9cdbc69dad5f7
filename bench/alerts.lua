-- POSTs alerts or observations; prints one JSON line at the end, as poll.lua does.
-- Environment: BENCH_KEY, BENCH_KIND (new, again, batch, values), BENCH_BATCH (items a request), BENCH_RUN (makes names
-- of one run new ones), BENCH_STATUS (any other answer is counted as wrong).
local kind, batch, run = os.getenv("BENCH_KIND"), tonumber(os.getenv("BENCH_BATCH")), os.getenv("BENCH_RUN")
local wanted = tonumber(os.getenv("BENCH_STATUS"))
local headers = {
   ["Authorization"] = "Bearer " .. os.getenv("BENCH_KEY"),
   ["Content-Type"] = "application/json",
}
local number = 0
local threads = {}
wrong = 0 -- global: done() reads it from the thread

local function alert(name)
   return '{"name": "bench-' .. name .. '", "severity": "warning", "summary": "The benchmark fires",'
      .. ' "labels": {"service": "bench", "venue": "XNAS"}}'
end

local function value(place)
   -- Every tenth is beyond its rule's threshold in one request and within it in the next.
   local bad = (place % 10 == 0 and number % 2 == 0) and "0.08" or "0.01"
   return '{"metric": "drawdown", "value": ' .. bad .. ', "labels": {"strategy": "s' .. place .. '"}}'
end

function setup(thread)
   threads[#threads + 1] = thread
end

function request()
   number = number + 1
   local body
   if kind == "new" then
      body = alert(run .. "-" .. number)
   elseif kind == "again" then
      body = alert("the-same")
   else
      local items = {}
      for place = 1, batch do
         items[place] = kind == "values" and value(place) or alert(run .. "-" .. number .. "-" .. place)
      end
      body = '{"' .. (kind == "values" and "observations" or "alerts") .. '": [' .. table.concat(items, ",") .. "]}"
   end
   return wrk.format("POST", nil, headers, body)
end

function response(status)
   if status ~= wanted then wrong = wrong + 1 end
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

#ifndef LLM_PROXY_SRC_LIMIT_REDIS_SCRIPT_H
#define LLM_PROXY_SRC_LIMIT_REDIS_SCRIPT_H

namespace llmproxy
{

// One decision, in one atomic step on Redis' own clock. KEYS[1]: a hash per
// token (s = start of the minute's window in ms, c = units in it, d = day,
// e = units of the day). ARGV: take | refund | peek, rpm, rpd (0 = unlimited),
// units, and of a refund the s and d that they were taken from. Returns ok,
// why (1 minute, 2 day), and what is left of each window with the ms to its
// end, then s and d. KEYS[2]: a receipt, which is remembered for the ms in the
// last of ARGV. If it was not known, nothing is taken for it; if it was, there
// is nothing to refund. Either returns 2 and nothing else.
constexpr char kLimitScript[] = R"lua(if KEYS[2] then
  local set = redis.call('SET', KEYS[2], 1, 'NX', 'PX', ARGV[#ARGV])
  if (ARGV[1] == 'take') == (set and true or false) then
    return {2, 0, 0, 0, 0, 0, 0, 0}
  end
end
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local rpm, rpd, n = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local h = redis.call('HMGET', KEYS[1], 's', 'c', 'd', 'e')
local s, c = tonumber(h[1]) or 0, tonumber(h[2]) or 0
local d, e = tonumber(h[3]) or -1, tonumber(h[4]) or 0
local day = math.floor(now / 86400000)
-- A clock that steps back moves the window, never empties it; the day only
-- goes forward, unless it was wrong by more than a day.
if now < s then
  s = now
  if ARGV[1] == 'take' then redis.call('HSET', KEYS[1], 's', s) end
elseif now - s >= 60000 then s = 0; c = 0 end
if day > d or d - day > 1 then d = day; e = 0 end
local ok = 1
if ARGV[1] == 'refund' then
  local ch = false
  if s ~= 0 and tonumber(ARGV[5]) == s and c >= n then c = c - n; ch = true end
  if tonumber(ARGV[6]) == d and e >= n then e = e - n; ch = true end
  if ch then redis.call('HSET', KEYS[1], 'c', c, 'e', e) end
  ok = ch and 1 or 0
else
  if (rpm > 0 and c + n > rpm) or (rpd > 0 and e + n > rpd) then ok = 0
  elseif ARGV[1] == 'take' then
    if s == 0 then s = now end
    c = c + n; e = e + n
    redis.call('HSET', KEYS[1], 's', s, 'c', c, 'd', d, 'e', e)
    redis.call('PEXPIREAT', KEYS[1],
      math.max((d + 1) * 86400000, s + 60000) + 1000)
  end
end
local mr = s == 0 and 60000 or s + 60000 - now
local dr = (d + 1) * 86400000 - now
local why = 0
if ok == 0 then if rpd > 0 and e + n > rpd then why = 2 else why = 1 end end
return {ok, why, rpm > 0 and math.max(0, rpm - c) or -1, mr,
  rpd > 0 and math.max(0, rpd - e) or -1, dr, s, d}
)lua";

} // namespace llmproxy

#endif

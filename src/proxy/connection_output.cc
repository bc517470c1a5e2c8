// How a connection frames its answers: heads, chunks, lengths.
#include "llm_proxy/base/strings.h"
#include "llm_proxy/proxy/connection.h"

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <ctime>

#include <sys/uio.h>

namespace llmproxy
{

namespace
{

constexpr size_t kUsualHead = 512;

iovec piece(std::string_view bytes)
{
    iovec v;
    v.iov_base = const_cast<char *>(bytes.data());
    v.iov_len = bytes.size();
    return v;
}

// RFC 9110 5.6.7, rendered once a second.
void append_date(std::string &out)
{
    thread_local time_t rendered = -1;
    thread_local char text[64];
    const time_t now = time(nullptr);
    if (now != rendered) {
        static const char days[] = "SunMonTueWedThuFriSat";
        static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
        tm parts;
        gmtime_r(&now, &parts);
        (void)snprintf(
            text, sizeof(text),
            "Date: %.3s, %02d %.3s %04d %02d:%02d:%02d GMT\r\n",
            &days[static_cast<size_t>(parts.tm_wday) * 3], parts.tm_mday,
            &months[static_cast<size_t>(parts.tm_mon) * 3],
            parts.tm_year + 1900, parts.tm_hour, parts.tm_min, parts.tm_sec);
        rendered = now;
    }
    out += text;
}

// RFC 9112 7.1. By printf it was a seventh of a piece's instructions.
void append_chunk_size(std::string &out, size_t size)
{
    char digits[16];
    const char *end =
        std::to_chars(digits, digits + sizeof(digits), size, 16).ptr;
    out.append(digits, static_cast<size_t>(end - digits));
    out += "\r\n";
}

} // namespace

void Connection::render_head(const AnswerHead &head, bool chunked)
{
    std::string &out = head_out_;
    out.reserve(kUsualHead);
    out = "HTTP/1.1 ";
    append_u64(out, static_cast<uint64_t>(head.status));
    out += ' ';
    out += reason_phrase(head.status);
    out += "\r\n";
    append_date(out);
    if (!head.content_type.empty()) {
        append_field(out, "Content-Type", head.content_type);
    }
    if (head.sse) {
        out += "Cache-Control: no-cache\r\nX-Accel-Buffering: no\r\n";
    }
    out += head.fields->text();
    if (head.more_fields != nullptr) {
        out += head.more_fields->text();
    }
    if (head.length) {
        out += "Content-Length: ";
        append_u64(out, *head.length);
        out += "\r\n";
    } else if (chunked) {
        out += "Transfer-Encoding: chunked\r\n";
    }
    if (!keep_) {
        out += "Connection: close\r\n";
    } else if (request_->minor_version == 0) {
        out += "Connection: keep-alive\r\n";
    }
    out += "\r\n";
}

void Connection::send_continue()
{
    const iovec v = piece("HTTP/1.1 100 Continue\r\n\r\n");
    stream_.send(&v, 1);
}

void Connection::send_whole(AnswerHead head, std::string_view body, bool close)
{
    keep_ = !close && can_keep_alive();
    if (head.status != 204) {
        head.length = body.size();
    }
    render_head(head, false);
    const bool head_only =
        request_ != nullptr && request_->method == Method::Head;
    const iovec pieces[] = {piece(head_out_), piece(body)};
    stream_.send(pieces, head_only ? 1 : 2);
    head_out_.clear();
}

void Connection::begin(const AnswerHead &head)
{
    keep_ = can_keep_alive();
    counted_length_ = head.length.has_value();
    length_left_ = head.length.value_or(0);
    chunked_ = !counted_length_ && request_->minor_version > 0;
    if (!counted_length_ && !chunked_) {
        keep_ = false;
    }
    render_head(head, chunked_);
}

void Connection::write(std::string_view bytes, bool last)
{
    std::string_view end;
    if (counted_length_) {
        bytes = bytes.substr(0, static_cast<size_t>(std::min<uint64_t>(
                                    bytes.size(), length_left_)));
        length_left_ -= bytes.size();
        // Fewer bytes than announced: only closing tells the client.
        keep_ = keep_ && !(last && length_left_ > 0);
    } else if (chunked_) {
        if (!bytes.empty()) {
            append_chunk_size(head_out_, bytes.size());
            end = "\r\n";
        }
        if (last) {
            end = bytes.empty() ? "0\r\n\r\n" : "\r\n0\r\n\r\n";
        }
    }
    const iovec pieces[] = {piece(head_out_), piece(bytes), piece(end)};
    stream_.send(pieces, end.empty() ? 2 : 3);
    head_out_.clear();
    if (stream_.queued() > 0) {
        arm_nearest();
    }
}

void Connection::abort()
{
    keep_ = false;
    if (!head_out_.empty()) {
        const iovec v = piece(head_out_);
        stream_.send(&v, 1);
        head_out_.clear();
    }
}

bool Connection::congested() const
{
    return stream_.queued() >= ClientStream::kHighMark;
}

} // namespace llmproxy

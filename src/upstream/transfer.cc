// One request over one easy handle: its options, its callbacks, its head, its
// deadlines, and the judgement of how it ended.
#include "transfer.h"

#include "llm_proxy/base/log.h"
#include "llm_proxy/base/strings.h"

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <utility>

namespace llmproxy
{

namespace
{

// libcurl keeps a receive buffer of this size for each handle to its end.
constexpr long kReceiveBuffer = 8192;
// And one to send a body from that does not go out with the head.
constexpr long kUploadBuffer = 16384;
// A fifth less CPU for bodies of this size and more, whose streams are few: it
// is held as long as the answer comes.
constexpr long kLongUploadBuffer = 65536;
constexpr curl_off_t kLongBody = curl_off_t{1024} * 1024;
// libcurl expects "100 Continue" for bodies of over 1 MiB.
constexpr curl_off_t kMayExpect = curl_off_t{256} * 1024;
constexpr size_t kMaxHead = size_t{64} * 1024;
constexpr size_t kMaxDetachedBytes = size_t{64} * 1024;
constexpr int64_t kDetachedMs = 1000;
// uvicorn closes idle connections after 5 s, Ollama (Go) never by itself.
constexpr long kVllmMaxAge = 4;
constexpr long kOllamaMaxAge = 30;

TransferFault classify(CURLcode result, bool head_done, bool reached)
{
    switch (result) {
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
        return TransferFault::Resolve;
    case CURLE_COULDNT_CONNECT:
        return TransferFault::Connect;
    case CURLE_OPERATION_TIMEDOUT:
        return TransferFault::ConnectTimeout;
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CIPHER:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_ISSUER_ERROR:
    case CURLE_SSL_INVALIDCERTSTATUS:
        return TransferFault::Tls;
    case CURLE_GOT_NOTHING:
    case CURLE_SEND_ERROR:
    case CURLE_RECV_ERROR:
    case CURLE_PARTIAL_FILE:
        if (head_done) {
            return TransferFault::Truncated;
        }
        return reached ? TransferFault::Reset : TransferFault::Connect;
    case CURLE_OUT_OF_MEMORY:
        // What libcurl also says of a header line over its own limit.
        if (reached) {
            return head_done ? TransferFault::Truncated
                             : TransferFault::Malformed;
        }
        return TransferFault::Internal;
    case CURLE_FAILED_INIT:
    case CURLE_BAD_FUNCTION_ARGUMENT:
        return TransferFault::Internal;
    case CURLE_ABORTED_BY_CALLBACK:
        // Our own veto against sending the request a third time.
        return TransferFault::Reset;
    default:
        return head_done ? TransferFault::Truncated : TransferFault::Malformed;
    }
}

} // namespace

Transfer::Transfer(EventLoop &loop, CurlSockets &sockets, ParsedUrls &urls,
                   TransferOwner &owner)
    : loop_(loop), urls_(urls), owner_(owner), easy_(curl_easy_init()),
      timer_(loop, *this)
{
    if (easy_ == nullptr) {
        fatal("curl_easy_init: out of memory");
    }
    set_constant_options(sockets);
}

void Transfer::set_constant_options(CurlSockets &sockets)
{
    usable_ = sockets.install_easy(easy_.get());
    set(CURLOPT_PRIVATE, this);
    set(CURLOPT_NOSIGNAL, 1L);
    set(CURLOPT_PROTOCOLS_STR, "http,https");
    set(CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_1_1));
    set(CURLOPT_PROXY, "");
    set(CURLOPT_FOLLOWLOCATION, 0L);
    set(CURLOPT_HTTP_TRANSFER_DECODING, 1L);
    set(CURLOPT_SSLVERSION, static_cast<long>(CURL_SSLVERSION_TLSv1_2));
    set(CURLOPT_BUFFERSIZE, kReceiveBuffer);
    set(CURLOPT_UPLOAD_BUFFERSIZE, kUploadBuffer);
    set(CURLOPT_TCP_KEEPALIVE, 1L);
    set(CURLOPT_DNS_CACHE_TIMEOUT, 60L);
    // Without it an expiring or removed transfer waits for getaddrinfo.
    set(CURLOPT_QUICK_EXIT, 1L);
    set(CURLOPT_ERRORBUFFER, error_text_);
    set(CURLOPT_WRITEFUNCTION, write_cb);
    set(CURLOPT_WRITEDATA, this);
    set(CURLOPT_HEADERFUNCTION, header_cb);
    set(CURLOPT_HEADERDATA, this);
    set(CURLOPT_READFUNCTION, read_cb);
    set(CURLOPT_READDATA, this);
    set(CURLOPT_SEEKFUNCTION, seek_cb);
    set(CURLOPT_SEEKDATA, this);
    set(CURLOPT_PREREQFUNCTION, prereq_cb);
    set(CURLOPT_PREREQDATA, this);
}

void Transfer::begin(uint64_t id, const BackendConfig &backend,
                     UpstreamRequest request, const TransferOptions &options,
                     TransferSink &sink)
{
    id_ = id;
    backend_ = &backend;
    kind_ = backend.kind;
    request_ = std::move(request);
    for (const std::string_view &piece : request_.body) {
        body_size_ += static_cast<curl_off_t>(piece.size());
    }
    options_ = options;
    sink_ = &sink;
    times_.submitted_ms = loop_.now_ms();
    timer_.arm(options_.queue_timeout_ms);
}

bool Transfer::start()
{
    times_.started_ms = loop_.now_ms();
    timer_.arm(options_.first_byte_timeout_ms);
    url_.assign(backend_->url.text);
    url_.append(request_.path);
    CURLU *url = urls_.find(url_);
    usable_ = usable_ && url != nullptr;
    set(CURLOPT_CURLU, url);
    set(CURLOPT_CONNECTTIMEOUT_MS,
        static_cast<long>(options_.connect_timeout_ms));
    set(CURLOPT_MAXAGE_CONN,
        backend_->kind == BackendKind::Vllm ? kVllmMaxAge : kOllamaMaxAge);
    if (backend_->url.tls && !backend_->ca_file.empty()) {
        // Debian's libcurl would look into the system's directory as well.
        set(CURLOPT_CAPATH, nullptr);
        set(CURLOPT_CAINFO, backend_->ca_file.c_str());
        reusable_ = false; // the defaults cannot be asked for again
    }
    set_headers();
    set_body();
    return usable_;
}

void Transfer::set_headers()
{
    // The list's nodes are ours: curl only reads them, and building them
    // here saves it two allocations a header.
    static char expect[] = "Expect:"; // no 100-continue, which waits 1 s
    static char agent[] = "User-Agent: llm-proxyd/" LLMPROXY_VERSION;
    headers_.clear();
    headers_.reserve(request_.headers.size() + 2);
    headers_.push_back({agent, nullptr});
    if (body_size_ >= kMayExpect) {
        headers_.push_back({expect, nullptr});
    }
    for (std::string &header : request_.headers) {
        headers_.push_back({header.data(), nullptr});
    }
    for (size_t i = 0; i + 1 < headers_.size(); i++) {
        headers_[i].next = &headers_[i + 1];
    }
    set(CURLOPT_HTTPHEADER, headers_.data());
}

void Transfer::set_body()
{
    body_piece_ = 0;
    body_offset_ = 0;
    if (!request_.post) {
        set(CURLOPT_HTTPGET, 1L);
        return;
    }
    set(CURLOPT_POST, 1L);
    // One piece goes out with the head in one write; of several, read_cb
    // hands curl one after the other.
    const bool whole = request_.body.size() <= 1;
    const char *bytes = request_.body.empty() ? "" : request_.body[0].data();
    set(CURLOPT_POSTFIELDS, whole ? bytes : nullptr);
    set(CURLOPT_POSTFIELDSIZE_LARGE, body_size_);
    if (body_size_ >= kLongBody) {
        set(CURLOPT_UPLOAD_BUFFERSIZE, kLongUploadBuffer);
        reusable_ = false; // libcurl 8 would keep the buffer
    }
}

size_t Transfer::read_cb(char *out, size_t, size_t room, void *arg) noexcept
{
    Transfer *self = static_cast<Transfer *>(arg);
    size_t done = 0;
    while (done < room && self->body_piece_ < self->request_.body.size()) {
        const std::string_view rest =
            self->request_.body[self->body_piece_].substr(self->body_offset_);
        const size_t n = std::min(rest.size(), room - done);
        memcpy(out + done, rest.data(), n);
        done += n;
        self->body_offset_ += n;
        if (n == rest.size()) {
            self->body_piece_++;
            self->body_offset_ = 0;
        }
    }
    return done;
}

int Transfer::seek_cb(void *arg, curl_off_t offset, int origin) noexcept
{
    if (offset != 0 || origin != SEEK_SET) {
        return CURL_SEEKFUNC_FAIL;
    }
    Transfer *self = static_cast<Transfer *>(arg);
    self->body_piece_ = 0;
    self->body_offset_ = 0;
    return CURL_SEEKFUNC_OK;
}

int Transfer::prereq_cb(void *arg, char *, char *, int, int local_port) noexcept
{
    Transfer *self = static_cast<Transfer *>(arg);
    self->local_port_ = local_port;
    self->attempts_++;
    if (self->attempts_ > 2) {
        return CURL_PREREQFUNC_ABORT;
    }
    self->times_.connected_ms = self->loop_.now_ms();
    self->times_.resent = self->attempts_ == 2;
    return CURL_PREREQFUNC_OK;
}

size_t Transfer::header_cb(char *data, size_t, size_t length,
                           void *arg) noexcept
{
    Transfer *self = static_cast<Transfer *>(arg);
    return self->take_header({data, length}) ? length : 0;
}

bool Transfer::take_header(std::string_view line)
{
    any_byte_ = true;
    if (head_done_) {
        return true; // trailers are dropped
    }
    head_bytes_ += line.size();
    if (head_bytes_ > kMaxHead) {
        fault_ = TransferFault::Malformed;
        (void)snprintf(error_text_, sizeof(error_text_), "head over %zu bytes",
                       kMaxHead);
        return false;
    }
    if (starts_with(line, "HTTP/")) {
        head_text_.clear();
        head_lines_.clear();
    }
    if (!line.empty() && line.back() == '\n') {
        line.remove_suffix(1);
    }
    if (!line.empty() && line.back() == '\r') {
        line.remove_suffix(1);
    }
    if (line.empty()) {
        return complete_head();
    }
    if (line.front() == ' ' || line.front() == '\t') {
        // A folded line (RFC 9112 5.2) would pass for a field of its own.
        fault_ = TransferFault::Malformed;
        (void)snprintf(error_text_, sizeof(error_text_), "folded header line");
        return false;
    }
    head_lines_.push_back(head_text_.size());
    head_text_.append(line);
    return true;
}

bool Transfer::complete_head()
{
    ReplyHead head;
    head.fields.reserve(head_lines_.size());
    for (size_t i = 0; i < head_lines_.size(); i++) {
        const size_t end =
            i + 1 < head_lines_.size() ? head_lines_[i + 1] : head_text_.size();
        const std::string_view line =
            std::string_view(head_text_)
                .substr(head_lines_[i], end - head_lines_[i]);
        if (i == 0) {
            uint64_t status = 0;
            if (line.size() < 12 || !starts_with(line, "HTTP/1.") ||
                !parse_u64(line.substr(9, 3), status)) {
                fault_ = TransferFault::Malformed;
                return false;
            }
            head.status = static_cast<int>(status);
            continue;
        }
        const size_t colon = line.find(':');
        if (colon != std::string_view::npos) {
            head.fields.push_back(
                {trim(line.substr(0, colon)), trim(line.substr(colon + 1))});
        }
    }
    if (head.status == 101) {
        fault_ = TransferFault::Malformed;
        (void)snprintf(error_text_, sizeof(error_text_),
                       "a change of protocol that was not asked for");
        return false;
    }
    if (head.status < 200) {
        return true;
    }
    // curl would hand over the bytes of an unknown coding as they are.
    const std::string_view *coding = head.find("Transfer-Encoding");
    if (coding != nullptr && !iequals(*coding, "chunked")) {
        fault_ = TransferFault::Malformed;
        (void)snprintf(error_text_, sizeof(error_text_),
                       "unknown transfer coding");
        return false;
    }
    head_done_ = true;
    times_.head_ms = loop_.now_ms();
    timer_.arm(options_.idle_timeout_ms);
    return sink_ == nullptr || record(sink_->on_upstream_head(head));
}

bool Transfer::record(Take take)
{
    owner_.on_touched(*this);
    return take != Take::Abort;
}

size_t Transfer::write_cb(char *data, size_t, size_t length, void *arg) noexcept
{
    return static_cast<Transfer *>(arg)->take_data({data, length});
}

size_t Transfer::take_data(std::string_view bytes)
{
    any_byte_ = true;
    if (sink_ == nullptr) {
        detached_bytes_ += bytes.size();
        return detached_bytes_ > kMaxDetachedBytes ? 0 : bytes.size();
    }
    const Take take = sink_->on_upstream_data(bytes);
    if (take == Take::Pause) {
        paused_ = true;
        timer_.cancel();          // the client's own deadline bounds a pause
        owner_.on_touched(*this); // it may be over with this turn
        return CURL_WRITEFUNC_PAUSE;
    }
    if (!touched) {
        // Otherwise armed in this turn, whose clock stands still.
        timer_.arm(options_.idle_timeout_ms);
    }
    return record(take) ? bytes.size() : 0;
}

bool Transfer::finish(CURLcode result, TransferEnd &end)
{
    long connects = 0;
    curl_easy_getinfo(easy_.get(), CURLINFO_NUM_CONNECTS, &connects);
    const bool died = result == CURLE_SEND_ERROR || result == CURLE_RECV_ERROR;
    if (died && connects == 0 && !any_byte_ && attempts_ == 1) {
        set(CURLOPT_FRESH_CONNECT, 1L);
        reusable_ = false;
        body_piece_ = 0;
        body_offset_ = 0;
        return !usable_;
    }
    end.reached = reached();
    if (result == CURLE_OK && !head_done_) {
        result = CURLE_GOT_NOTHING;
    }
    if (result != CURLE_OK) {
        end.fault = fault_ != TransferFault::None
                        ? fault_
                        : classify(result, head_done_, reached());
        end.detail =
            error_text_[0] != '\0' ? error_text_ : curl_easy_strerror(result);
    }
    return true;
}

TransferEnd Transfer::fail(TransferFault fault) const
{
    TransferEnd end;
    end.fault = fault;
    end.reached = reached();
    return end;
}

TransferFault Transfer::deadline_fault() const
{
    if (!running()) {
        return TransferFault::QueueTimeout;
    }
    return head_done_ ? TransferFault::IdleTimeout
                      : TransferFault::FirstByteTimeout;
}

void Transfer::on_timer(Timer &)
{
    owner_.on_deadline(*this);
}

bool Transfer::request_sent() const
{
    curl_off_t sent = 0;
    curl_easy_getinfo(easy_.get(), CURLINFO_SIZE_UPLOAD_T, &sent);
    return attempts_ > 0 && sent >= body_size_;
}

bool Transfer::detach()
{
    // The body's bytes go with the sink: they must all be out.
    if (paused_ || !request_sent()) {
        return false;
    }
    sink_ = nullptr;
    backend_ = nullptr;
    timer_.arm(kDetachedMs);
    return true;
}

bool Transfer::resume()
{
    paused_ = false;
    timer_.arm(options_.idle_timeout_ms);
    return curl_easy_pause(easy_.get(), CURLPAUSE_CONT) == CURLE_OK;
}

void Transfer::clear()
{
    timer_.cancel();
    sink_ = nullptr;
    backend_ = nullptr;
    request_ = UpstreamRequest();
    times_ = TransferTimes();
    body_size_ = 0;
    head_text_.clear();
    head_lines_.clear();
    head_bytes_ = 0;
    detached_bytes_ = 0;
    fault_ = TransferFault::None;
    attempts_ = 0;
    head_done_ = false;
    any_byte_ = false;
    paused_ = false;
    touched = false;
    error_text_[0] = '\0';
}

} // namespace llmproxy

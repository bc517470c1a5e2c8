#ifndef LLM_PROXY_TESTS_UNIT_FEED_H
#define LLM_PROXY_TESTS_UNIT_FEED_H

#include "llm_proxy/adapt/adapter.h"

#include <string>
#include <string_view>

namespace llmproxy
{

// Takes the steps that an adapter has put off; counts them in `put_off`.
inline AdaptStatus take_long(Adapter &adapter, AdaptStatus status,
                             std::string &out, size_t *put_off = nullptr)
{
    while (status == AdaptStatus::Long) {
        if (put_off != nullptr) {
            ++*put_off;
        }
        status = adapter.reply_long(out);
    }
    return status;
}

// Feeds a backend's reply to its end: the head, `first` bytes of the body, and
// the rest in pieces of `step` bytes, each a copy of its own, so that a
// sanitizer sees what is read behind it.
inline AdaptStatus feed(Adapter &adapter, const ReplyHead &head,
                        std::string_view body, size_t first, size_t step,
                        std::string &out, size_t *put_off = nullptr)
{
    AdaptStatus status = adapter.reply_head(head);
    for (size_t size = first; status == AdaptStatus::More && !body.empty();
         size = step) {
        const std::string piece(body.substr(0, size));
        body.remove_prefix(piece.size());
        status =
            take_long(adapter, adapter.reply_data(piece, out), out, put_off);
    }
    while (status == AdaptStatus::More) {
        status = take_long(adapter, adapter.reply_end(out), out, put_off);
    }
    return status;
}

} // namespace llmproxy

#endif

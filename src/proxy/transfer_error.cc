// Failed transfers in the words that clients and the access log know.
#include "transfer_error.h"

#include <string>

namespace llmproxy
{

Cause transfer_cause(TransferFault fault)
{
    switch (fault) {
    case TransferFault::QueueFull:
    case TransferFault::QueueTimeout:
    case TransferFault::Exhausted:
        return Cause::Overloaded;
    case TransferFault::ConnectTimeout:
    case TransferFault::FirstByteTimeout:
    case TransferFault::IdleTimeout:
        return Cause::Timeout;
    default:
        return Cause::BackendError;
    }
}

ApiError transfer_error(const TransferEnd &end, const BackendConfig &asked)
{
    ApiError error;
    // It may have generated for minutes, and would begin anew.
    error.no_retry = end.reached;
    const std::string backend = std::string("The ") + asked.name;
    switch (end.fault) {
    case TransferFault::QueueFull:
    case TransferFault::QueueTimeout:
        error.kind = ApiErrorKind::BackendBusy;
        error.message = backend + " backend has too many requests waiting.";
        return error;
    case TransferFault::Exhausted:
        error.kind = ApiErrorKind::Overloaded;
        return error;
    case TransferFault::Resolve:
    case TransferFault::Connect:
    case TransferFault::Tls:
        error.kind = ApiErrorKind::BackendUnreachable;
        error.message = backend + " backend could not be reached.";
        return error;
    case TransferFault::ConnectTimeout:
        error.kind = ApiErrorKind::BackendTimeout;
        error.message = backend + " backend did not accept the connection in "
                                  "time.";
        return error;
    case TransferFault::FirstByteTimeout:
        error.kind = ApiErrorKind::BackendTimeout;
        error.message = backend + " backend did not answer in time.";
        return error;
    case TransferFault::IdleTimeout:
        error.kind = ApiErrorKind::BackendTimeout;
        error.message = backend + " backend fell silent in the middle of its "
                                  "answer.";
        return error;
    case TransferFault::Reset:
        error.kind = ApiErrorKind::BackendUnreachable;
        error.message = backend + " backend closed the connection without an "
                                  "answer.";
        return error;
    case TransferFault::Truncated:
        error.kind = ApiErrorKind::BackendError;
        error.message = backend + " backend closed the connection in the "
                                  "middle of its answer.";
        return error;
    case TransferFault::Malformed:
        error.kind = ApiErrorKind::BackendBadResponse;
        error.message = backend + " backend's answer could not be understood.";
        return error;
    case TransferFault::None:
    case TransferFault::Internal:
        break;
    }
    error.kind = ApiErrorKind::Internal;
    return error;
}

} // namespace llmproxy

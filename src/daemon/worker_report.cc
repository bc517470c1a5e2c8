// What a worker tells the supervisor of itself, on its own thread.
#include "worker_report.h"

#include <algorithm>
#include <utility>

#include "worker.h"

namespace llmproxy
{

void Worker::ask(const WorkerQuestion &question, const WorkerAnswered &done)
{
    loop_.post([this, question, done] {
        WorkerAnswer answer = report(question);
        if (question.forget != nullptr) {
            limiter().forget_token(*question.forget);
        }
        if (question.reset == nullptr) {
            done(std::move(answer));
            return;
        }
        limiter().reset(*question.reset,
                        [answer, done](const std::string &why) {
                            WorkerAnswer reset = answer;
                            reset.why_not = why;
                            done(std::move(reset));
                        });
    });
}

WorkerAnswer Worker::report(const WorkerQuestion &question)
{
    WorkerAnswer answer;
    answer.came = true;
    answer.connections = connections_.size();
    std::vector<const Connection *> busy;
    for (const auto &entry : connections_) {
        if (entry.second->has_exchange()) {
            busy.push_back(entry.second.get());
        }
    }
    answer.exchanges = busy.size();
    if (question.exchanges > 0) {
        std::vector<std::pair<uint64_t, const Connection *>> by_age;
        for (const Connection *connection : busy) {
            by_age.emplace_back(connection->exchange_number(), connection);
        }
        const size_t most = std::min(by_age.size(), question.exchanges);
        std::partial_sort(by_age.begin(),
                          by_age.begin() + static_cast<ptrdiff_t>(most),
                          by_age.end());
        for (size_t i = 0; i < most; i++) {
            answer.listed.push_back(by_age[i].second->view());
        }
    }
    if (question.limits) {
        for (const Principal &p : question.config->tokens.principals()) {
            answer.limits.push_back(limiter().peek(p));
        }
    }
    return answer;
}

} // namespace llmproxy

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
    std::vector<std::pair<uint64_t, const Connection *>> busy; // by age
    busy.reserve(connections_.size());
    for (const auto &entry : connections_) {
        if (entry.second->has_exchange()) {
            busy.emplace_back(entry.second->exchange_number(),
                              entry.second.get());
        }
    }
    answer.exchanges = busy.size();
    const size_t most = std::min(busy.size(), question.exchanges);
    std::partial_sort(busy.begin(), busy.begin() + static_cast<ptrdiff_t>(most),
                      busy.end());
    for (size_t i = 0; i < most; i++) {
        answer.listed.push_back(busy[i].second->view());
    }
    if (question.limits) {
        for (const Principal &p : question.config->tokens.principals()) {
            answer.limits.push_back(limiter().peek(p));
        }
    }
    return answer;
}

} // namespace llmproxy

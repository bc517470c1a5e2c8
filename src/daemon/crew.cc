// The workers as one: what the main thread tells all of them.
#include "crew.h"

#include "llm_proxy/base/log.h"

#include <utility>

namespace llmproxy
{

bool Crew::start(const std::shared_ptr<const Config> &config,
                 const std::vector<int> &sockets, Callback drained, Error &err)
{
    loads_.workers = config->workers;
    waits_.push_front({config->workers, std::move(drained)});
    const std::list<Wait>::iterator wait = waits_.begin();
    for (size_t i = 0; i < config->workers; i++) {
        workers_.push_back(std::make_unique<Worker>(process_, loads_, i, config,
                                                    sockets, one_of(wait)));
    }
    for (const std::unique_ptr<Worker> &worker : workers_) {
        Worker *running = worker.get();
        Error why;
        if (!threads_.emplace_back().start([running] { running->run(); },
                                           why)) {
            err.message = "WORKERS=" + std::to_string(workers_.size()) +
                          ": worker " + std::to_string(threads_.size()) + ": " +
                          why.message;
            return false;
        }
    }
    return true;
}

Crew::Callback Crew::one_of(std::list<Wait>::iterator wait)
{
    return [this, wait] {
        loop_.post([this, wait] {
            wait->missing--;
            if (wait->missing == 0) {
                const Callback done = std::move(wait->done);
                waits_.erase(wait);
                done();
            }
        });
    };
}

Crew::Callback Crew::when_all(Callback done)
{
    waits_.push_front({workers_.size(), std::move(done)});
    return one_of(waits_.begin());
}

void Crew::set_config(const std::shared_ptr<const Config> &config)
{
    for (const std::unique_ptr<Worker> &worker : workers_) {
        worker->set_config(config);
    }
}

void Crew::listen_on(const std::vector<int> &sockets, Callback done)
{
    const Callback one = when_all(std::move(done));
    for (const std::unique_ptr<Worker> &worker : workers_) {
        worker->listen_on(sockets, one);
    }
}

void Crew::begin_drain(bool replaced, Callback doors_closed)
{
    const Callback one = when_all(std::move(doors_closed));
    for (const std::unique_ptr<Worker> &worker : workers_) {
        worker->begin_drain(replaced, one);
    }
}

void Crew::shut_down()
{
    for (const std::unique_ptr<Worker> &worker : workers_) {
        worker->shut_down();
    }
}

void Crew::ping(Callback answered)
{
    const Callback one = when_all(std::move(answered));
    for (const std::unique_ptr<Worker> &worker : workers_) {
        worker->ping(one);
    }
}

void Crew::stop()
{
    for (const std::unique_ptr<Worker> &worker : workers_) {
        worker->stop();
    }
    threads_.clear(); // waits for them
    workers_.clear();
}

} // namespace llmproxy

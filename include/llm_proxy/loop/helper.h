#ifndef LLM_PROXY_LOOP_HELPER_H
#define LLM_PROXY_LOOP_HELPER_H

namespace llmproxy
{

// Work that would hold the loop up for more than a millisecond or two, like
// making a tree of a large JSON text.
class LongJob
{
public:
    // On the helper's thread, once. Touches nothing that the loop's thread
    // uses meanwhile.
    virtual void work() = 0;
    // On the loop's thread, once, after work(), unless the loop has ended.
    virtual void on_worked() = 0;

protected:
    ~LongJob() = default;
};

// Does long jobs beside the loop, one after the other, in the order in which
// they were given. From the loop's thread only.
class Helper
{
public:
    virtual ~Helper() = default;
    // The job lives until on_worked(), or until withdraw() said true, or
    // until the loop has ended.
    virtual void run(LongJob &job) = 0;
    // True: the job is not at work and never will be; on_worked() does not
    // come.
    virtual bool withdraw(LongJob &job) = 0;
};

} // namespace llmproxy

#endif

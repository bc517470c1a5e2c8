#ifndef LLM_PROXY_CTL_SCREEN_H
#define LLM_PROXY_CTL_SCREEN_H

#include <cstdint>

#include "text.h"

namespace llmproxy
{

enum class Key { None, Quit, Resized };

// A terminal that is drawn upon, and left as it was found: in the destructor,
// and while the program is stopped. One at a time; it takes the signals that
// end, stop and resize.
class Screen
{
public:
    Screen();
    ~Screen();
    Screen(const Screen &) = delete;
    Screen &operator=(const Screen &) = delete;

    void draw(const TopText &text);
    // Waits for a key or a signal, `ms` at most.
    Key wait(int64_t ms);

private:
    void enter();
    void leave();

    int signals_ = -1; // a signalfd
};

// Which lines fit on a screen of so many rows, each cut at so many columns.
// Labels get at most a third of it; what does not fit is counted.
Lines fit(const TopText &text, size_t rows, size_t columns);

} // namespace llmproxy

#endif

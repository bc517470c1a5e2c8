#ifndef LLM_PROXY_TESTS_CMOCKA_HPP
#define LLM_PROXY_TESTS_CMOCKA_HPP

// cmocka 1.1.5 has no extern "C" of its own and wants these before it. Its
// asserts leave by longjmp: objects of the test function are not destroyed
// after a failure.
#include <csetjmp>
#include <cstdarg>
#include <cstddef>
#include <cstdint>

extern "C" {
#include <cmocka.h>
}

#endif

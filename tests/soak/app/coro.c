#include "coro.h"

/* Runs on a stack of its own, and leaves it in the middle. */
FIXED void coroutine(void)
{
    PAD();
    if (setjmp(coroutine_here) == 0) {
        longjmp(coroutine_caller, 1);
    }
    WAIT(2u);
    coroutine_turns++;
    longjmp(coroutine_caller, 2);
}

#ifndef CORO_H
#define CORO_H

#include "soak.h"

extern jmp_buf coroutine_here, coroutine_caller;
extern volatile uint32_t coroutine_turns, coroutine_taken;

#endif

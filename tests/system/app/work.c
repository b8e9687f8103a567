/* The functions that the tests edit. */
#include "app.h"

int counter = 1000;
static int file_counter = 2000;

__attribute__((noinline)) int value(int x)
{
    return x + 1;
}

__attribute__((noinline)) int same_unit(int x)
{
    int result = value(x);

    return result * 10;
}

__attribute__((noinline)) int tail(int x)
{
    return value(x + 1);
}

/* At a depth of 5 the old version gives 5, one that adds 100 per level 500 more. */
__attribute__((noinline)) int depth(int n)
{
    if (n == 0) {
        return 0;
    }
    return 1 + depth(n - 1) + 0 * n;
}

static __attribute__((noinline)) int local(int n)
{
    if (n == 0) {
        return 0;
    }
    return 2 + local(n - 1);
}

__attribute__((noinline)) int local_depth(int n)
{
    return local(n);
}

static __attribute__((noinline)) int twice(int x)
{
    return 2 * x;
}

int (*const actions[3])(int) = { value, twice, local_depth };

__attribute__((noinline)) int state_step(void)
{
    static int calls = 3000;

    counter++;
    file_counter++;
    calls++;
    return counter - file_counter + calls;
}

volatile uint32_t hold;

/* Runs as long as it is held, so that commits find it running. */
__attribute__((noinline)) int slow(int x)
{
    do {
        __asm__ volatile("wfi");
    } while (hold != 0);
    return x;
}

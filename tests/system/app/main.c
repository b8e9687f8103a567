/* Calls the functions under test on every route there is, for ever, and notes what came back. */
#include "app.h"

#include <stdio.h>
#include <stdlib.h>

volatile struct seen seen;
volatile uint32_t lines_wanted;
static int (*taken_before)(int);
static int *on_heap;

static void log_lines(void)
{
    static uint32_t number;

    while (lines_wanted > 0) {
        lines_wanted--;
        printf("line %lu of the numbered log\n", (unsigned long)number++);
    }
}

__attribute__((noinline)) void turn(void)
{
    seen.direct = value(1);
    seen.same_unit = same_unit(1);
    seen.tail = tail(1);
    seen.recursion = depth(5);
    seen.local_recursion = local_depth(5);
    seen.pointer = taken_before(1);
    seen.table = actions[1](1);
    seen.equal = taken_before == value && actions[0] == value;
    seen.state = state_step();
    seen.heap = ++*on_heap;
    seen.typed = typed_call(1);
    log_lines();
    seen.turns++;
}

int main(void)
{
    setvbuf(stdout, NULL, _IOLBF, 256);
    on_heap = malloc(sizeof *on_heap);
    *on_heap = 0;
    taken_before = value;
    tick_start();
    printf("application started\n");
    for (;;) {
        turn();
        __asm__ volatile("wfi"); /* a turn per interrupt is enough, and leaves the machine to others */
    }
}

/* A preemptive scheduler: main and three tasks, which are created, end, and are deleted in the middle. */
#include "coro.h"
#include "hotflash.h"
#include "soak.h"

#define REG(address) (*(volatile uint32_t *)(address))
#define SCB_ICSR REG(0xE000ED04u)
#define STACK_WORDS 768u

struct task tasks[1u + TASKS] = {{.state = TASK_READY}};
struct task *volatile current = &tasks[0];
volatile uint32_t created, deleted, ended;
static uint32_t stacks[TASKS][STACK_WORDS] __attribute__((aligned(8)));
static struct hf_task told[TASKS];

void yield(void)
{
    SCB_ICSR = 1u << 28;
    __asm volatile("dsb\n\tisb");
}

static void task_end(void)
{
    current->state = TASK_DONE;
    for (;;) {
        yield();
    }
}

static void create(uint32_t i, uint32_t seed)
{
    uint32_t *stack = stacks[i - 1u], *sp = stack + STACK_WORDS;
    struct hf_task *tell = &told[i - 1u];

    for (uint32_t word = 0; word < STACK_WORDS; word++) {
        stack[word] = 0xA5A5A5A5u; /* as an RTOS does that watches stacks */
    }
    *--sp = 0x01000000u;
    *--sp = (uint32_t)worker & ~1u;
    *--sp = (uint32_t)task_end;
    sp -= 5;
    sp[0] = seed;
    *--sp = 0xFFFFFFFDu;
    sp -= 9;
    tasks[i].sp = sp;
    if (told_wanted != 0) {
        *tell = (struct hf_task){.name = "worker", .stack = stack, .size = sizeof stacks[0],
                                 .sp = (const volatile uint32_t *)&tasks[i].sp};
        hf_task_add(tell);
    }
    created++;
    tasks[i].state = TASK_READY;
}

static void forget(uint32_t i)
{
    tasks[i].state = TASK_FREE;
    if (coroutine_taken == 1u + i) {
        coroutine_taken = 0;
    }
    if (told_wanted != 0) {
        hf_task_remove(&told[i - 1u]);
    }
}

/* Called by main, so no task runs. */
void tasks_tend(uint32_t *rng)
{
    uint32_t number = next(rng);
    uint32_t victim = 1u + number % TASKS;

    if (tasks[victim].state == TASK_READY && number % 11u == 0) {
        forget(victim);
        deleted++;
    }
    for (uint32_t i = 1; i <= TASKS; i++) {
        if (tasks[i].state == TASK_DONE) {
            forget(i);
            ended++;
        }
        if (tasks[i].state == TASK_FREE) {
            create(i, next(rng));
        }
    }
}

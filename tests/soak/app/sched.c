/* Which of two stacks runs next: main's, or the process stack's of a task. */
#include "soak.h"

FIXED uint32_t *choose(uint32_t *sp)
{
    static uint32_t rng = 5;
    uint32_t number = next(&rng);

    PAD();
    current->sp = sp;
    for (uint32_t i = 0; i <= TASKS; i++) {
        struct task *task = &tasks[(number + i) % (1u + TASKS)];

        if (task->state == TASK_READY) {
            current = task;
            break;
        }
    }
    return current->sp;
}

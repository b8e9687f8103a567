/* What the application tells the monitor about itself: lists of structs that stay the application's
 * (hotflash.h). They are read where they lie, with every address checked, for it may have failed in any
 * way. The last word of each struct is the link. */
#include "hf_state.h"

#define HF_TASKS_MAX 32u

/* Changed by the application at any time, so not part of the checksummed state. */
static uint32_t tasks; /* the last one that was told */

static bool writable(uint32_t address, uint32_t length)
{
    return (address & 3u) == 0 && (hf_within(address, length, hf_map.ram_base, hf_map.ram_size) ||
                                   hf_within(address, length, hf_map.data_base, hf_map.data_size));
}

bool hf_told_readable(uint32_t address, uint32_t length)
{
    return writable(address, length) || ((address & 3u) == 0 && hf_within(address, length, hf_map.app_base, hf_map.app_size));
}

/* The search is bounded: a list that the application has made a ring ends, too. */
void hf_told_list(uint32_t *list, uint32_t item, uint32_t length, uint32_t most, bool add)
{
    uint32_t state = hf_arch_mask();
    uint32_t *link = list;

    for (uint32_t i = 0; i < most && *link != item && writable(*link, length); i++) {
        link = hf_ptr(*link + length - 4u);
    }
    if (writable(item, length)) { /* a constant has no room for the link */
        uint32_t *next = hf_ptr(item + length - 4u);

        if (*link == item) {
            *link = *next;
        }
        if (add) {
            *next = *list;
            *list = item;
        }
    }
    hf_arch_unmask(state);
}

/* --------------------------------------------------------------------------------------- tasks */

/* struct hf_task: name, stack, size, sp, next */
struct task {
    uint32_t name, stack, size, sp, next;
};

void hf_task(uint32_t task, uint32_t add)
{
    hf_told_list(&tasks, task, sizeof(struct task), HF_TASKS_MAX, add != 0);
}

void hf_task_forget(void)
{
    tasks = 0;
}

static bool readable(uint32_t at)
{
    const struct task *task = hf_ptr(at);

    return hf_told_readable(at, sizeof *task) && hf_told_readable(task->stack, task->size);
}

/* Whether the thread that was interrupted stands on none of the told stacks: a coroutine of one of the tasks
 * does. Whose it is nobody knows, nor how far that task's own stack is in use. */
static bool is_astray(uint32_t sp)
{
    uint32_t at = tasks;

    for (uint32_t i = 0; i < HF_TASKS_MAX && readable(at); i++) {
        const struct task *task = hf_ptr(at);

        if (hf_within(sp, 0, task->stack, task->size)) {
            return false;
        }
        at = task->next;
    }
    return true;
}

/* A task that runs has its stack pointer in the core; what the application keeps may be older. While the main
 * stack's thread runs, the process stack pointer may be what it was when the last task was interrupted: what was
 * saved below it, the task's registers, is known by the application's word alone. */
bool hf_task_stack(uint32_t *next, const struct hf_context *context, struct hf_told *told)
{
    uint32_t at = *next == 0 ? tasks : *next;
    const struct task *task = hf_ptr(at);
    uint32_t sp;

    if (told->number >= HF_TASKS_MAX || !readable(at)) {
        return false;
    }
    if (told->number == 0) {
        told->astray = context->process != 0 && is_astray(context->stack[1].low);
    }
    sp = hf_told_readable(task->sp, 4) && !told->astray ? hf_word(task->sp) : task->stack;
    for (uint32_t i = 0; i < HF_CONTEXT_STACKS; i++) {
        uint32_t low = context->stack[i].low;

        if (hf_within(low, 0, task->stack, task->size)) {
            sp = i == 0 || context->process != 0 || low < sp ? low : sp;
            told->running |= 1u << i;
        }
    }
    told->number++;
    told->bottom = task->stack;
    told->live.low = sp & ~3u;
    if (!hf_within(sp, 0, task->stack, task->size)) {
        told->live.low = task->stack;
        told->away = true;
    }
    told->live.high = task->stack + (task->size & ~3u);
    *next = task->next != 0 ? task->next : HF_TOLD_END;
    return true;
}

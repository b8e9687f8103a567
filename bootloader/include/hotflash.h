/* hotflash.h: what an application can ask of the hotflash monitor.
 *
 * Everything here is optional: functions can be replaced in an application that never includes this file.
 *
 * The hot build defines HOTFLASH=1 (`hotflash sdk --cflags`, hotflash.mk, cmake/hotflash.cmake). With HOTFLASH=0,
 * or undefined, every call below compiles to nothing: its arguments are checked but not evaluated, and it
 * leaves no instruction, no string and no symbol behind.
 *
 * All functions may be called from main, from threads and from interrupts of any priority; none of them blocks.
 */
#ifndef HOTFLASH_H
#define HOTFLASH_H

#include <stdint.h>

/* Why the application is parked: the argument of on_park and on_continue. */
#define HF_PARKED_ASKED 1u     /* somebody asked for it: `hotflash park` */
#define HF_PARKED_ATTENTION 2u /* the same, and a handler did not return */
#define HF_PARKED_FAULT 3u     /* it faulted */
#define HF_PARKED_WATCHDOG 4u  /* it had masked interrupts for too long */

/* Stands for SysTick in struct hf_parking's list. */
#define HF_KEEP_SYSTICK (-1)

/* What happens while the application is parked, that is, stands still between two instructions. Members may be
 * NULL. The functions run on the monitor's stack (1 KiB and more, board.toml), in thread mode, with all interrupts
 * but the listed ones off; on_park and on_continue must return. */
struct hf_parking {
    /* Brings everything that moves to rest: motors off. */
    void (*on_park)(uint32_t why);
    /* Before the application goes on where it was. */
    void (*on_continue)(uint32_t why);
    /* At a restart, after the cleanups, before main: with an RTOS, ends its scheduler. Without it an application
     * that uses the process stack, as RTOSes do, is not restarted. */
    void (*on_restart)(uint32_t unused);
    /* External interrupts (0 is the first behind SysTick) that keep running, if the place where the application
     * was parked lets them in: a handler there still holds up those of the same and lower priorities. At most 32. */
    const int16_t *keep;
    uint32_t keep_count;
};

/* What a restart undoes: a registered function, called with its argument. The struct stays the caller's, lies in RAM,
 * perhaps on the stack, and must stay there until it is removed; one in flash is not taken. */
struct hf_cleanup {
    void (*run)(void *argument);
    void *argument;
    struct hf_cleanup *next; /* the monitor's */
};

/* A stack of a thread. From its lowest address to where the thread stands nothing is alive, so a version of a function
 * that is only named there may go; and a commit that waits for calls to end sees those of this thread. Where `sp` points
 * out of the stack (the thread runs a coroutine on another), all of it is alive, and all RAM is searched. The struct stays
 * the caller's and must stay where it is, in RAM, until it is removed. */
struct hf_task {
    const char *name;
    const void *stack; /* lowest address, a multiple of 4 */
    uint32_t size;     /* bytes */
    const volatile uint32_t *sp; /* where its stack pointer is kept while it does not run; NULL: all of it is alive */
    struct hf_task *next; /* the monitor's */
};

#ifdef __cplusplus
extern "C" {
#endif

#if defined(HOTFLASH) && HOTFLASH

#define HF_SERVICES_MAGIC 0x53465648u /* "HVFS" */
#define HF_SERVICES_ABI 0x00010001u   /* 1.1: major * 65536 + minor */

/* The table at HF_BOOT + 0x400, docs/SPEC.md, Services. It is the bootloader's, and it has been checked against the
 * ABI in the image header before the application started. */
struct hf_services {
    uint32_t magic;                                         /*  0 HF_SERVICES_MAGIC */
    uint32_t abi;                                           /*  4 major * 65536 + minor */
    void (*log_write)(const char *text, uint32_t length);   /*  8 */
    uint32_t (*generation)(void);                           /* 12 */
    void (*clock_changed)(void);                            /* 16 */
    uint32_t (*micros)(void);                               /* 20 */
    void (*parking)(const struct hf_parking *parking);      /* 24 */
    void (*cleanup)(struct hf_cleanup *cleanup, uint32_t add); /* 28 */
    void (*task)(struct hf_task *task, uint32_t add);       /* 32 */
    uint32_t reserved[7];                                   /* 36 zeros */
};

/* Defined by the linker script fragment hotflash.ld; nothing is allocated for it. */
extern const struct hf_services __hf_services;

/* Appends `length` bytes to the live log. A line ends with '\n'. A line that does not fit into the monitor's buffer is
 * dropped as a whole and counted; the count is shown where the line is missing. */
static inline void hf_log_write(const char *text, uint32_t length)
{
    __hf_services.log_write(text, length);
}

/* Appends a string and a line end to the live log. `text` ends with a zero byte. */
static inline void hf_log(const char *text)
{
    uint32_t length = 0;

    while (text[length] != '\0') {
        length++;
        __asm__("" : "+r"(length)); /* else GCC makes this a call of strlen, which the firmware may not have */
    }
    __hf_services.log_write(text, length);
    __hf_services.log_write("\n", 1u);
}

/* The live generation: 0 is the code in flash; each commit and each rollback makes the next. */
static inline uint32_t hf_generation(void)
{
    return __hf_services.generation();
}

/* Microseconds since the board started, of a clock that is not SysTick; wraps at 2^32 (71 minutes). */
static inline uint32_t hf_micros(void)
{
    return __hf_services.micros();
}

/* Registers what happens at parking; the struct is copied, its list is not. A restart forgets it. NULL: nothing. */
static inline void hf_on_parking(const struct hf_parking *parking)
{
    __hf_services.parking(parking);
}

/* Registers a cleanup for `hotflash restart`. At most 64 are run, the last registered first, on the stack below what
 * was running. Adding one that is registered makes it the last. */
static inline void hf_cleanup_add(struct hf_cleanup *cleanup)
{
    __hf_services.cleanup(cleanup, 1u);
}

/* Takes it back; no error when it is not registered. To be called before the struct goes out of scope. */
static inline void hf_cleanup_remove(struct hf_cleanup *cleanup)
{
    __hf_services.cleanup(cleanup, 0u);
}

/* Tells of a thread's stack; at most 32 are looked at. An RTOS's port tells of each task when it is created: of all or
 * of none, since those that are not told of are only searched for when none is. A restart forgets them. */
static inline void hf_task_add(struct hf_task *task)
{
    __hf_services.task(task, 1u);
}

/* Takes it back, before the stack is used for anything else. */
static inline void hf_task_remove(struct hf_task *task)
{
    __hf_services.task(task, 0u);
}

/* To be called after the application has changed a clock that the monitor's UART or timer runs from. */
static inline void hf_clock_changed(void)
{
    __hf_services.clock_changed();
}

#else

/* sizeof keeps the types checked and the arguments "used" without evaluating them. */
#define hf_log_write(text, length) ((void)sizeof((text)[0] == (char)(length)))
#define hf_log(text) ((void)sizeof((text)[0]))
#define hf_generation() ((uint32_t)0)
#define hf_micros() ((uint32_t)0)
#define hf_clock_changed() ((void)0)
#define hf_on_parking(parking) ((void)sizeof((parking) == (const struct hf_parking *)0))
#define hf_cleanup_add(cleanup) ((void)sizeof((cleanup)->next))
#define hf_cleanup_remove(cleanup) ((void)sizeof((cleanup)->next))
#define hf_task_add(task) ((void)sizeof((task)->next))
#define hf_task_remove(task) ((void)sizeof((task)->next))

#endif

#ifdef __cplusplus
}
#endif

#endif

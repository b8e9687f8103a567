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

#ifdef __cplusplus
extern "C" {
#endif

#if defined(HOTFLASH) && HOTFLASH

#define HF_SERVICES_MAGIC 0x53465648u /* "HVFS" */
#define HF_SERVICES_ABI 0x00010000u   /* 1.0: major * 65536 + minor */

/* The table at HF_BOOT + 0x400, docs/SPEC.md, Services. It is the bootloader's, and it has been checked against the
 * ABI in the image header before the application started. */
struct hf_services {
    uint32_t magic;                                         /*  0 HF_SERVICES_MAGIC */
    uint32_t abi;                                           /*  4 major * 65536 + minor */
    void (*log_write)(const char *text, uint32_t length);   /*  8 */
    uint32_t (*generation)(void);                           /* 12 */
    void (*clock_changed)(void);                            /* 16 */
    uint32_t (*micros)(void);                               /* 20 */
    uint32_t reserved[10];                                  /* 24 zeros */
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

#endif

#ifdef __cplusplus
}
#endif

#endif

/* The monitor under a coverage-guided fuzzer: one input is one board's life, from power-on.
 *
 * An input is a list of records, so that inputs can be cut and joined: a byte `what`, a byte n, n bytes. What
 * random bytes would never get past is put right here when `what` asks for it: frames get their COBS coding and
 * CRC, commits their seal, pushes the generation. Behind the last record all accidents end: the board must answer
 * a Hello, and if an application runs, its tables must be whole.
 *
 * tests/monitor/guided.py has the same numbers. */
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app_image.h" /* written by tests/monitor/guided.py */
#include "device.h"
#include "hf_state.h"
#include "main.h"
#include "state.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum what {
    WHAT_RAW,     /* bytes arrive at the UART */
    WHAT_FRAME,   /* channel, seq, body */
    WHAT_CONTROL, /* a control request with a new seq: operation, message */
    WHAT_AGAIN,   /* the same with the last seq */
    WHAT_DAMAGED, /* a control request, of which the bit that its first two bytes say arrives inverted */
    WHAT_LOG,     /* the application calls log_write */
    WHAT_EVENT,   /* an event, a number */
    WHAT_WORDS,   /* words for the context's registers and the start of the application's RAM: heap + word */
    WHAT_STORE,   /* the application stores bytes: u16 offset in its RAM, bytes */
};
#define FIX_SEAL 0x10u       /* of a Commit */
#define FIX_GENERATION 0x20u /* of a Begin or Rollback: its first field */
#define BATCH 0x40u          /* the handler runs after the last byte only */

enum event {
    EVENT_RESET,
    EVENT_POWER,
    EVENT_TICK,
    EVENT_PARK,
    EVENT_FAULT,
    EVENT_TX, /* the line takes so many more bytes; 255: any number */
    EVENT_STUCK,
    EVENT_TIME, /* 2^n us pass */
    EVENT_CUT, /* power fails so many steps from now */
    EVENT_FLASH_FAILS,
    EVENT_INJECT,
    EVENT_PROCESS_STACK,
    EVENT_TELL, /* the application tells of a struct in its RAM: bits 0 to 4 its address / 16, 5 and 6 what, 7: takes it back */
    EVENT_COUNT,
};

jmp_buf main_power_on;
static jmp_buf finished;

static struct {
    const uint8_t *at, *end;
    uint8_t seq;
} input;

#define FRAME_MAX 520u
#define HELLO_SEQ 0xA5u

/* ---------------------------------------------------------------------------------------- frames */

static void feed(const uint8_t *bytes, size_t length, bool batch)
{
    for (size_t i = 0; i < length; i++) {
        dev_receive(bytes[i]);
        dev_settle(!batch || i + 1 == length);
    }
}

static size_t coded(uint8_t *out, const uint8_t *in, size_t length)
{
    size_t at = 1, code_at = 0;

    for (size_t i = 0; i < length; i++) {
        if (in[i] != 0) {
            out[at++] = in[i];
        }
        if (in[i] == 0 || at - code_at == 255) {
            out[code_at] = (uint8_t)(at - code_at);
            code_at = at++;
        }
    }
    out[code_at] = (uint8_t)(at - code_at);
    out[at++] = 0;
    return at;
}

static uint32_t crc32(uint32_t crc, const uint8_t *data, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        crc ^= data[i];
        for (int bit = 0; bit < 8; bit++) {
            crc = crc >> 1 ^ (0xEDB88320u & (0u - (crc & 1u)));
        }
    }
    return crc;
}

/* Sends channel, seq, body; `damage`: one bit more than that which is inverted, 0: none. */
static void send(uint8_t *frame, size_t length, uint32_t damage, bool batch)
{
    static uint8_t line[FRAME_MAX];
    uint32_t crc = ~crc32(0xFFFFFFFFu, frame, length);
    size_t coded_length;

    memcpy(frame + length, &crc, 4);
    coded_length = coded(line, frame, length + 4);
    if (damage != 0) {
        line[(damage - 1) / 8 % coded_length] ^= (uint8_t)(1u << (damage - 1) % 8);
    }
    feed(line, coded_length, batch);
}

/* What tests/monitor/client.py does for its pushes, from the device's own view. */
static void fix(uint8_t what, uint8_t *body, size_t length)
{
    uint8_t op = body[0] & 0x7Fu;

    if ((what & FIX_GENERATION) != 0 && length > 1 && (op == HF_OP_BEGIN || op == HF_OP_ROLLBACK) &&
        hf_state.generation < 0x80u) {
        body[1] = (uint8_t)hf_state.generation;
    }
    if ((what & FIX_SEAL) != 0 && length > 6 && op == HF_OP_COMMIT && hf_state.txn != 0) {
        uint32_t crc = hf_state.txn_crc;

        for (uint32_t i = 0; i < hf_txn_slots(); i++) {
            uint32_t n, at = hf_txn_piece(i, &n);

            crc = crc32(crc, hf_ptr(at), n);
        }
        crc = ~crc32(crc, body + 6, length - 6);
        memcpy(body + 2, &crc, 4);
    }
}

static void control(uint8_t what, const uint8_t *p, size_t n)
{
    uint8_t frame[FRAME_MAX];
    uint32_t damage = 0;

    if (what % 16u == WHAT_DAMAGED) {
        if (n < 2) {
            return;
        }
        damage = 1u + p[0] + 256u * p[1];
        p += 2;
        n -= 2;
    }
    if (n == 0) {
        return;
    }
    input.seq = (uint8_t)(input.seq + (what % 16u != WHAT_AGAIN));
    frame[0] = HF_CH_CONTROL;
    frame[1] = input.seq;
    memcpy(frame + 2, p, n);
    fix(what, frame + 2, n);
    send(frame, n + 2, damage, (what & BATCH) != 0);
}

/* ---------------------------------------------------------------------------------------- records */

static void words(const uint8_t *p, size_t n)
{
    for (size_t i = 0; 2 * i + 1 < n; i++) {
        uint32_t word = DEV_HEAP_BASE + p[2 * i] + 256u * p[2 * i + 1];

        if (i < HF_CONTEXT_REGS) {
            dev.context.reg[i] = word;
        }
        memcpy(dev_alias(DEV_RAM_BASE + (uint32_t)(4 * i), 4), &word, 4);
    }
    dev.context.stack[0] = (struct hf_stack){DEV_RAM_BASE + (n > 0 ? p[0] & ~3u : 0), DEV_RAM_BASE + dev_settings.ram_size};
}

/* The application stores what it likes into its RAM. */
static void store(const uint8_t *p, size_t n)
{
    uint32_t at;

    if (n < 3) {
        return;
    }
    at = (p[0] + 256u * p[1]) % dev_settings.ram_size;
    for (size_t i = 2; i < n && at < dev_settings.ram_size; i++) {
        *dev_alias(DEV_RAM_BASE + at++, 1) = p[i];
    }
}

static void tell(uint32_t at, uint32_t what, bool add)
{
    if (what == 0) {
        hf_parking(add ? at : 0);
    } else if (what == 1) {
        hf_cleanup(at, add);
    } else {
        hf_task(what == 2 ? at : DEV_FLASH_BASE + 1024u, add);
    }
}

static void event(uint8_t which, uint8_t number)
{
    uint32_t fault[DEV_FAULT_WORDS] = {number};

    switch (which % EVENT_COUNT) {
    case EVENT_RESET:
        dev_reset(false);
    case EVENT_POWER:
        dev_reset(true);
    case EVENT_TICK:
        hf_tick_interrupt();
        return;
    case EVENT_PARK:
        if (dev.app_started != 0 && !dev.plain && !dev.parked) {
            dev_park(HF_PARK_WATCHDOG, (number & 1u) != 0);
        }
        return;
    case EVENT_FAULT:
        if (dev.app_started != 0 && !dev.plain) {
            dev_fault(fault);
        }
        return;
    case EVENT_TX:
        dev.tx_budget = number == 255 ? UINT32_MAX : number;
        return;
    case EVENT_STUCK:
        dev.stuck = number & 1u;
        return;
    case EVENT_TIME:
        dev.micros += 1u << number % 32u;
        return;
    case EVENT_CUT:
        dev.cut_mask = (1u << STEP_KINDS) - 1u;
        dev.cut_count = 0;
        dev.cut_at = number;
        return;
    case EVENT_FLASH_FAILS:
        dev.flash_fail_at = number;
        return;
    case EVENT_INJECT:
        dev.inject_length = number % sizeof dev.inject_text;
        memset(dev.inject_text, number % 3 ? 'i' : '\n', sizeof dev.inject_text);
        dev.inject_count = 0;
        dev.inject_left = 8;
        dev.inject_every = number % 5u;
        dev.inject_at = 1u + number % 16u;
        return;
    case EVENT_TELL:
        tell(DEV_RAM_BASE + 16u * (number & 31u), number >> 5 & 3u, (number & 0x80u) == 0);
        return;
    default:
        dev.process_stack = number & 1u;
        return;
    }
}

static void record(void)
{
    uint8_t what = input.at[0];
    size_t n = input.end - input.at < 2 ? 0 : input.at[1];
    const uint8_t *p = input.at + 2;
    uint8_t frame[FRAME_MAX];

    if (input.end - input.at < 2 || n > (size_t)(input.end - p)) {
        input.at = input.end;
        return;
    }
    input.at = p + n; /* before it is done: it may be a reset */
    switch (what % 16u) {
    case WHAT_RAW:
        feed(p, n, (what & BATCH) != 0);
        return;
    case WHAT_FRAME:
        memcpy(frame, p, n);
        send(frame, n, 0, (what & BATCH) != 0);
        return;
    case WHAT_CONTROL:
    case WHAT_AGAIN:
    case WHAT_DAMAGED:
        control(what, p, n);
        return;
    case WHAT_LOG:
        hf_log_write((const char *)p, (uint32_t)n);
        return;
    case WHAT_EVENT:
        if (n > 1) {
            event(p[0], p[1]);
        }
        return;
    case WHAT_WORDS:
        words(p, n);
        return;
    case WHAT_STORE:
        store(p, n);
        return;
    default:
        return;
    }
}

/* -------------------------------------------------------------------------------------- the check */

/* Whether the frame at `line` is a control reply with that seq that says OK; NULL: no frame ends there. */
static const uint8_t *next_frame(const uint8_t *line, const uint8_t *end, uint8_t seq, bool *answered)
{
    uint8_t raw[2 * FRAME_MAX];
    size_t length = 0;

    while (line < end && *line != 0) {
        uint8_t code = *line++;

        for (uint8_t i = 1; i < code; i++) {
            if (line == end || *line == 0 || length == sizeof raw) {
                dev_fail("the device sent a frame that is not COBS");
            }
            raw[length++] = *line++;
        }
        if (code != 255 && line < end && *line != 0) {
            raw[length++] = 0;
        }
    }
    if (line == end) {
        return NULL;
    }
    if (length != 0) {
        uint32_t crc;

        if (length < 6) {
            dev_fail("the device sent a frame of %zu bytes", length);
        }
        memcpy(&crc, raw + length - 4, 4);
        if (crc != ~crc32(0xFFFFFFFFu, raw, length - 4)) {
            dev_fail("the device sent a frame with a wrong CRC");
        }
        *answered = *answered || (raw[0] == HF_CH_CONTROL && raw[1] == seq && raw[2] == HF_OK);
    }
    return line + 1;
}

static void ask(const uint8_t *request, size_t length)
{
    uint8_t frame[FRAME_MAX] = {HF_CH_CONTROL, HELLO_SEQ};
    const uint8_t *line;
    size_t sent;
    bool answered = false;

    dev_sent_clear();
    memcpy(frame + 2, request, length);
    send(frame, length + 2, 0, false);
    sent = dev_sent(&line);
    for (const uint8_t *end = line + sent; line != NULL && line < end;) {
        line = next_frame(line, end, HELLO_SEQ, &answered);
    }
    if (!answered) {
        for (size_t i = 0; i < sent; i++) {
            (void)dev_sent(&line);
            fprintf(stderr, "%02x ", line[i]);
        }
        dev_fail("request %02x was not answered with OK, but with the %zu bytes above; parked %u, reset %u, action %u", request[0],
                 sent, dev.parked, hf_state.reset, hf_state.action);
    }
}

static void check(void)
{
    const uint8_t hello[] = {HF_OP_HELLO, 1, HF_WIRE_VERSION, 1, 2, 3, 4}, slots[] = {HF_OP_SLOTS, 0};
    const uint8_t zero = 0;

    dev.cut_at = 0;
    dev.inject_at = 0;
    dev.stuck = 0;
    dev.flash_fail_at = 0;
    dev.tx_budget = UINT32_MAX;
    feed(&zero, 1, false); /* a full ring is emptied, and may end within a frame */
    feed(&zero, 1, false);
    if (dev.plain) {
        return;
    }
    ask(hello, sizeof hello);
    if (hf_state.lost != 0) {
        dev_fail("state lost, and nobody had touched it");
    }
    if ((hf_state.app & HF_HELLO_APP_RUNS) == 0) {
        return;
    }
    ask(slots, sizeof slots);
    if (hf_state.drift != 0) {
        dev_fail("%u reference counts had drifted", hf_state.drift);
    }
    HF_FOR_BLOCKS (b) {
        if (hf_state.txn == 0 && (hf_block(b)->flags & HF_SLOTF_OPEN) != 0) {
            dev_fail("slot %u is of a transaction that is over", hf_handle(b));
        }
    }
}

void dev_serve(void)
{
    dev_settle(true);
    dev_sent_clear();
    if (input.at < input.end) {
        record();
        return;
    }
    check();
    longjmp(finished, 1);
}

static void power_on(void)
{
    static bool mapped;
    uint32_t written = dev.erases + dev.programs;

    if (!mapped) {
        dev_settings.flash_size = 0x4000;
        dev_settings.heap_size = 0x1000;
        dev_settings.data_size = 0x1000;
        dev_settings.ram_size = 0x1000;
        dev_settings.chunk = 128;
        dev_settings.log_size = 256;
        dev_map();
        state_init();
        written = 1;
        mapped = true;
    }
    dev = (struct dev_state){.tx_budget = UINT32_MAX, .seed = 1};
    if (written != 0) {
        memset(dev_alias(DEV_FLASH_BASE, dev_settings.flash_size), 0xFF, dev_settings.flash_size);
        memcpy(dev_alias(DEV_FLASH_BASE, sizeof app_image), app_image, sizeof app_image);
    }
    /* What state_power_lost() does, fast: heap and hooks are written by the boot anyway. */
    memset(dev_alias(DEV_RAM_BASE, dev_settings.ram_size), 0xA5, dev_settings.ram_size);
    memset(dev_alias(DEV_DATA_BASE, dev_settings.data_size), 0xA5, dev_settings.data_size);
    memset(&hf_persist, 0xA5, sizeof hf_persist);
    memset(hf_record, 0xA5, sizeof hf_record);
    dev_sent_clear();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    input.at = data;
    input.end = data + size;
    input.seq = 0;
    power_on();
    if (setjmp(finished) == 0) {
        (void)setjmp(main_power_on);
        dev_interrupts_reset();
        state_boot();
    }
    return 0;
}

#ifdef REPLAY
/* Runs the inputs of a file: for each a u32 length and the bytes. Says the number of each before it runs it. */
int main(int argc, char **argv)
{
    FILE *file = argc == 2 ? fopen(argv[1], "rb") : NULL;
    uint32_t length;
    unsigned number = 0;

    if (file == NULL) {
        fputs("usage: replay FILE\n", stderr);
        return 2;
    }
    setvbuf(stdout, NULL, _IOLBF, 256);
    while (fread(&length, 4, 1, file) == 1) {
        uint8_t *data = malloc(length); /* of its own: the sanitizer sees the first byte too many */

        if (data == NULL || fread(data, 1, length, file) != length) {
            fputs("the file is cut\n", stderr);
            return 2;
        }
        printf("%u\n", number++);
        (void)LLVMFuzzerTestOneInput(data, length);
        free(data);
    }
    fclose(file);
    return 0;
}
#endif

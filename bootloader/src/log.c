/* The application's log stream. hf_log_write() takes text from any thread or interrupt, copies it
 * into a ring and never waits; what does not fit is dropped in whole lines and counted.
 *
 * Space is reserved in a short masked section and filled outside it. Writers nest like the interrupts
 * that they run in, so the last one to finish publishes what all of them reserved. */
#include "hf_state.h"

static struct ring {
    volatile uint32_t reserved; /* free-running: end of what writers have taken */
    volatile uint32_t ready;    /* end of what the handler may read */
    volatile uint32_t tail;     /* what it has read */
    volatile uint32_t dropped;  /* lines */
    volatile uint32_t writers;
    volatile uint8_t last; /* last byte accepted */
    volatile bool skip;    /* inside a line that is being dropped */
    volatile bool torn;    /* a line was dropped whose beginning may be in the ring */
} ring;

void hf_log_init(void)
{
    ring = (struct ring){.last = '\n'};
}

static uint32_t lines(const char *text, uint32_t length)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < length; i++) {
        count += text[i] == '\n';
    }
    return count;
}

/* Up to and with the first line end. */
static uint32_t first_line(const char *text, uint32_t length)
{
    for (uint32_t i = 0; i < length; i++) {
        if (text[i] == '\n') {
            return i + 1u;
        }
    }
    return length;
}

void hf_log_write(const char *text, uint32_t length)
{
    uint32_t mask = hf_map.log_size - 1u;
    uint32_t count, head, at, rest, state;
    bool cut;

    if ((hf_state.app & HF_HELLO_APP_RUNS) == 0 || length == 0) {
        return;
    }
    count = lines(text, length);
    rest = first_line(text, length);

    state = hf_arch_mask();
    at = 0;
    if (ring.skip) { /* the rest of a line whose middle is gone goes as well */
        at = rest;
        if (text[rest - 1u] == '\n') {
            ring.skip = false;
            ring.dropped++;
            count--;
        }
    }
    if (at == length) {
        hf_arch_unmask(state);
        return;
    }
    cut = ring.torn && ring.last != '\n'; /* ends what is there of the dropped line */
    if (length - at + cut > hf_map.log_size - (ring.reserved - ring.tail)) {
        ring.dropped += count;
        ring.skip = text[length - 1u] != '\n';
        ring.torn = true;
        hf_arch_unmask(state);
        return;
    }
    head = ring.reserved;
    ring.reserved = head + (length - at) + cut;
    ring.writers++;
    ring.torn = false;
    ring.last = (uint8_t)text[length - 1u];
    hf_arch_unmask(state);

    if (cut) {
        hf_map.log_ring[head++ & mask] = '\n';
    }
    for (; at < length; at++) {
        hf_map.log_ring[head++ & mask] = (uint8_t)text[at];
    }

    state = hf_arch_mask();
    if (--ring.writers == 0) {
        ring.ready = ring.reserved;
    }
    hf_arch_unmask(state);
    hf_frame_pend();
}

bool hf_log_waiting(void)
{
    return ring.ready != ring.tail;
}

uint32_t hf_log_dropped(void)
{
    return ring.dropped;
}

uint32_t hf_log_take(uint8_t *data, uint32_t length)
{
    uint32_t tail = ring.tail;
    uint32_t n = ring.ready - tail;

    if (n > hf_map.log_size) { /* trampled */
        ring.tail = ring.ready;
        return 0;
    }
    n = n < length ? n : length;
    for (uint32_t i = 0; i < n; i++) {
        data[i] = hf_map.log_ring[(tail + i) & (hf_map.log_size - 1u)];
    }
    ring.tail = tail + n;
    return n;
}

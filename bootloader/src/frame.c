/* Frames (docs/SPEC.md, Frames): the receive ring and its decoder, the two transmit buffers and the
 * interrupts at their ends.
 *
 * Each index has one writer. The receive interrupt moves `head`, the handler `tail`; both are masked
 * at each use, so that trampled indices give bad frames and not wild accesses. A transmit buffer
 * belongs to the handler while its length is 0 and to the transmit interrupt otherwise. */
#include "hf_state.h"

static struct rx {
    volatile uint32_t head, tail; /* of the ring; free-running */
    volatile uint32_t lost;       /* bytes */
    uint32_t length;              /* of the frame being decoded */
    volatile uint8_t zeros;       /* in a row, at most HF_ATTENTION */
    uint8_t left;                 /* bytes until the next code byte */
    uint8_t code;                 /* the last code byte; 0: frame not begun */
    bool bad;
} rx;

static struct tx {
    volatile uint32_t length[2]; /* 0: free */
    volatile uint32_t sent;      /* of the current one */
    volatile uint8_t current;
    volatile bool busy; /* the interrupt is at work */
    uint8_t building;
    uint8_t fault[HF_FAULT_BODY + HF_FRAME_EXTRA + HF_COBS_EXTRA(HF_FAULT_BODY) + 3u];
    volatile uint32_t fault_length, fault_sent;
} tx;

static volatile bool work;

void hf_frame_init(void)
{
    rx = (struct rx){0};
    tx = (struct tx){0};
    work = false;
}

void hf_frame_pend(void)
{
    work = true;
    hf_arch_pend();
}

bool hf_frame_work(void)
{
    bool was = work;

    work = false;
    return was;
}

void hf_rx_interrupt(void)
{
    uint32_t head = rx.head;
    bool pend = false;
    uint8_t byte;

    for (uint32_t i = 0; i < HF_RX_PER_ENTRY && hf_board.uart_take(&byte); i++) {
        uint32_t used = head - rx.tail;

        if (byte != 0) {
            rx.zeros = 0;
        } else if (rx.zeros < HF_ATTENTION) {
            rx.zeros++;
        }
        if (used >= hf_map.rx_size) {
            rx.lost++;
            pend = true;
            continue;
        }
        hf_map.rx_ring[head & (hf_map.rx_size - 1u)] = byte;
        head++;
        /* Half a ring without a frame's end is noise or a long frame: have it decoded. */
        pend = pend || byte == 0 || used == hf_map.rx_size / 2u;
    }
    rx.head = head;
    rx.lost += hf_board.uart_lost();
    if (pend) {
        hf_frame_pend();
    }
}

bool hf_attention(void)
{
    bool came = rx.zeros >= HF_ATTENTION;

    if (came) {
        rx.zeros = 0;
    }
    return came;
}

uint32_t hf_frame_overrun(void)
{
    return rx.lost;
}

static void append(uint8_t byte)
{
    if (rx.length >= HF_FRAME_BYTES(hf_map.chunk)) {
        rx.bad = true;
        return;
    }
    hf_map.rx_frame[rx.length++] = byte;
}

/* Takes one byte; true at the end of a frame that is whole. */
static bool decode(uint8_t byte)
{
    if (byte != 0) {
        if (rx.left != 0) {
            rx.left--;
            append(byte);
            return false;
        }
        if (rx.code != 0 && rx.code != 0xFFu) {
            append(0);
        }
        rx.code = byte;
        rx.left = (uint8_t)(byte - 1u);
        return false;
    }

    bool begun = rx.code != 0;
    bool whole = begun && rx.left == 0 && !rx.bad && rx.length >= HF_FRAME_EXTRA;

    if (whole) {
        uint32_t body = rx.length - 4u;
        struct hf_reader r = {hf_map.rx_frame + body, hf_map.rx_frame + rx.length, false};
        uint32_t crc;

        crc = hf_get_le(&r, 4);
        whole = crc == ~hf_crc_update(HF_CRC_INIT, hf_map.rx_frame, body);
    }
    if (begun && !whole) {
        hf_state.rx_bad++;
    }
    rx.code = 0;
    rx.left = 0;
    rx.bad = false;
    return whole;
}

bool hf_frame_next(const uint8_t **frame, uint32_t *length)
{
    uint32_t tail = rx.tail;
    uint32_t used = rx.head - tail;
    bool whole = false;

    if (used > hf_map.rx_size) { /* trampled */
        tail = rx.head;
        used = 0;
    }
    while (used > 0 && !whole) {
        if (rx.code == 0) {
            rx.length = 0;
        }
        whole = decode(hf_map.rx_ring[tail & (hf_map.rx_size - 1u)]);
        tail++;
        used--;
    }
    rx.tail = tail;
    if (!whole) {
        return false;
    }
    *frame = hf_map.rx_frame;
    *length = rx.length - 4u;
    return true;
}

/* ------------------------------------------------------------------------------------- transmit */

static uint32_t buffer_room(void)
{
    return HF_TX_BYTES(hf_map.chunk);
}

/* The raw frame is built so far from the buffer's start that COBS can be done in place: its output
 * never overtakes its input. */
static uint32_t raw_at(void)
{
    return HF_COBS_EXTRA(HF_FRAME_BYTES(hf_map.chunk));
}

/* Encodes the frame of `length` bytes at `in` to `out`, in <= 254-byte blocks, and ends it. Returns
 * the encoded length. */
static uint32_t cobs(uint8_t *out, const uint8_t *in, uint32_t length)
{
    uint32_t at = 1, code_at = 0;
    uint8_t code = 1;

    for (uint32_t i = 0; i < length; i++) {
        uint8_t byte = in[i];

        if (code == 0xFFu) { /* the block is full, and bytes follow */
            out[code_at] = code;
            code_at = at++;
            code = 1;
        }
        if (byte == 0) {
            out[code_at] = code;
            code_at = at++;
            code = 1;
        } else {
            out[at++] = byte;
            code++;
        }
    }
    out[code_at] = code;
    out[at++] = 0;
    return at;
}

static uint32_t seal(uint8_t *out, uint8_t *raw, uint32_t length)
{
    uint32_t crc = ~hf_crc_update(HF_CRC_INIT, raw, length);

    for (uint32_t i = 0; i < 4; i++) {
        raw[length + i] = (uint8_t)(crc >> (8u * i));
    }
    return cobs(out, raw, length + 4u);
}

bool hf_tx_begin(struct hf_writer *w, uint8_t channel, uint8_t seq)
{
    uint32_t which = tx.current & 1u;

    if (tx.length[which] != 0) { /* being sent: the other one comes next */
        which ^= 1u;
    }
    if (tx.length[which] != 0) {
        return false;
    }
    tx.building = (uint8_t)which;
    w->at = hf_map.tx_buffer[which] + raw_at();
    w->end = hf_map.tx_buffer[which] + buffer_room() - 5u;
    w->bad = false;
    hf_put_u8(w, channel);
    hf_put_u8(w, seq);
    return true;
}

/* Gives at most `limit` bytes. Runs in the transmit interrupt, or with it held off. */
static void give(uint32_t limit)
{
    for (uint32_t i = 0; i < limit; i++) {
        if (tx.fault_length != 0 && tx.sent == 0) {
            if (!hf_board.uart_put(tx.fault[tx.fault_sent])) {
                return;
            }
            if (++tx.fault_sent >= tx.fault_length || tx.fault_sent >= sizeof tx.fault) {
                tx.fault_length = 0;
            }
            continue;
        }
        uint32_t current = tx.current & 1u;
        uint32_t length = tx.length[current];

        if (length == 0 || length > buffer_room()) {
            tx.busy = false;
            hf_board.uart_tx_irq(false);
            return;
        }
        if (!hf_board.uart_put(hf_map.tx_buffer[current][tx.sent])) {
            return;
        }
        tx.sent++;
        if (tx.sent >= length) {
            tx.sent = 0;
            tx.length[current] = 0;
            tx.current = (uint8_t)(current ^ 1u);
            hf_frame_pend(); /* a buffer is free: more requests, more log */
        }
    }
}

void hf_tx_interrupt(void)
{
    hf_board.uart_tx_irq(true);
    give(HF_RX_PER_ENTRY);
}

void hf_tx_pump(void)
{
    give(HF_RX_PER_ENTRY);
}

/* Starts the transmitter when it rests. The interrupt could not do this itself: it comes when room
 * appears, and there is room already. */
static void kick(void)
{
    uint32_t state = hf_arch_mask();

    if (!tx.busy) {
        tx.busy = true;
        hf_board.uart_tx_irq(true);
        give(1);
    }
    hf_arch_unmask(state);
}

void hf_tx_end(struct hf_writer *w)
{
    uint32_t which = tx.building;
    uint8_t *buffer = hf_map.tx_buffer[which];
    uint8_t *raw = buffer + raw_at();
    uint32_t length = seal(buffer, raw, (uint32_t)(w->at - raw));

    if (!tx.busy) {
        tx.current = (uint8_t)which;
        tx.sent = 0;
    }
    tx.length[which] = length;
    kick();
}

bool hf_tx_idle(void)
{
    return tx.length[0] == 0 && tx.length[1] == 0 && tx.fault_length == 0;
}

void hf_tx_fault(const uint8_t *body, uint32_t length, uint8_t seq)
{
    uint8_t raw[HF_FAULT_BODY + HF_FRAME_EXTRA];
    uint32_t n = length < HF_FAULT_BODY ? length : HF_FAULT_BODY;

    raw[0] = HF_CH_FAULT;
    raw[1] = seq;
    for (uint32_t i = 0; i < n; i++) {
        raw[2u + i] = body[i];
    }
    /* It goes out before the next frame. The delimiter ends one that is not finished, should the
     * transmitter's state have been lost. */
    tx.fault[0] = 0;
    tx.fault_length = 1u + seal(tx.fault + 1, raw, n + 2u);
    tx.fault_sent = 0;
}

/* VTA on a processor: the driver of npu.h for tests. What programs compute, bit for bit; no time. */
#include <stdlib.h>
#include <string.h>

#include "npu.h"

/* sizes */
#define LANES 16
#define WEIGHTS (LANES * LANES)

typedef struct {
  uint8_t *memory;
  uint32_t bytes;
  int failed;
  uint32_t uop[UOP_DEPTH];
  int8_t inp[INP_DEPTH][LANES];
  int8_t wgt[WGT_DEPTH][GROUPS][LANES][LANES];
  int32_t acc[ACC_DEPTH][GROUPS * LANES];
} vta_state;

static vta_state state;

static int vta_allocate(void *context, uint32_t bytes) {
  vta_state *s = (vta_state *)context;
  free(s->memory);
  s->memory = (uint8_t *)calloc(bytes, 1);
  s->bytes = bytes;
  return s->memory ? 0 : 1;
}

static int vta_copy_in(void *context, uint32_t address, const void *from, uint32_t bytes) {
  vta_state *s = (vta_state *)context;
  if (!s->memory || address > s->bytes || bytes > s->bytes - address) return 1;
  memcpy(s->memory + address, from, bytes);
  return 0;
}

static int vta_copy_out(void *context, uint32_t address, void *to, uint32_t bytes) {
  vta_state *s = (vta_state *)context;
  if (!s->memory || address > s->bytes || bytes > s->bytes - address) return 1;
  memcpy(to, s->memory + address, bytes);
  return 0;
}

/* Bits low to high of the words of an instruction, both inclusive. */
static uint32_t bits(const uint64_t *w, int high, int low) {
  uint64_t v = w[low / 64] >> (low % 64);
  int count = high - low + 1;
  if (low % 64 + count > 64) v |= w[low / 64 + 1] << (64 - low % 64);
  return (uint32_t)(v & (((uint64_t)1 << count) - 1u));
}

static uint32_t word(const uint8_t *b) {
  return (uint32_t)b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
}

static int load_element(vta_state *s, uint32_t type, uint32_t at, const uint8_t *from) {
  if (type == 0) {
    if (at >= UOP_DEPTH) return 1;
    s->uop[at] = from ? word(from) : 0;
  } else if (type == 1) {
    if (at >= WGT_DEPTH) return 1;
    for (uint32_t k = 0; k < GROUPS * WEIGHTS; k++) {
      int v = 0;
      if (from && WEIGHT_BITS == 8) v = (int8_t)from[k];
      if (from && WEIGHT_BITS == 4) {
        v = from[k / 2] >> (k % 2 ? 4 : 0) & 15;
        v = v > 7 ? v - 16 : v;
      }
      s->wgt[at][k / WEIGHTS][k % WEIGHTS / LANES][k % LANES] = (int8_t)v;
    }
  } else if (type == 2) {
    if (at >= INP_DEPTH) return 1;
    for (uint32_t k = 0; k < LANES; k++) s->inp[at][k] = from ? (int8_t)from[k] : 0;
  } else if (type == 3) {
    if (at >= ACC_DEPTH) return 1;
    for (uint32_t k = 0; k < GROUPS * LANES; k++)
      s->acc[at][k] = from ? (int32_t)word(from + 4 * k) : 0;
  } else {
    return 1;
  }
  return 0;
}

static int move(vta_state *s, const uint64_t *w, int stores) {
  static const uint32_t sizes[5] = {4, GROUPS * WEIGHTS * WEIGHT_BITS / 8, LANES,
                                    4 * GROUPS * LANES, GROUPS * LANES};
  uint32_t type = bits(w, 9, 7), at = bits(w, 25, 10), from = bits(w, 57, 26);
  uint32_t rows = bits(w, 79, 64), columns = bits(w, 95, 80), stride = bits(w, 111, 96);
  uint32_t top = bits(w, 115, 112), bottom = bits(w, 119, 116);
  uint32_t left = bits(w, 123, 120), right = bits(w, 127, 124);
  if (type > 4) return 1;
  if (columns == 0) return 0;
  if (stores) top = bottom = left = right = 0;
  for (uint32_t y = 0; y < top + rows + bottom; y++)
    for (uint32_t x = 0; x < left + columns + right; x++, at++) {
      int inside = y >= top && y < top + rows && x >= left && x < left + columns;
      uint64_t place = ((uint64_t)from + (uint64_t)(y - top) * stride + (x - left)) * sizes[type];
      if (inside && place + sizes[type] > s->bytes) return 1;
      if (stores) {
        if (at >= ACC_DEPTH) return 1;
        for (uint32_t k = 0; k < GROUPS * LANES; k++)
          s->memory[place + k] = (uint8_t)((uint32_t)s->acc[at][k] & 255u);
      } else if (load_element(s, type, at, inside ? s->memory + place : NULL)) {
        return 1;
      }
    }
  return 0;
}

static int32_t shifted(int32_t v, int32_t by) {
  if (by >= 0) return v >> (by > 31 ? 31 : by);
  return by > -32 ? (int32_t)((uint32_t)v << -by) : 0;
}

static int32_t combined(uint32_t operation, int32_t a, int32_t b, int immediate) {
  if (operation == 0) return a < b ? a : b;
  if (operation == 1) return a > b ? a : b;
  if (operation == 2) return (int32_t)((uint32_t)a + (uint32_t)b);
  return immediate ? shifted(a, b) : a >> (b & 31);
}

static int compute(vta_state *s, const uint64_t *w, int gemm) {
  uint32_t reset = bits(w, 7, 7), begin = bits(w, 20, 8), end = bits(w, 34, 21);
  uint32_t outer = bits(w, 48, 35), inner = bits(w, 62, 49);
  uint32_t dst_out = bits(w, 74, 64), dst_in = bits(w, 85, 75);
  uint32_t src_out = bits(w, 96, 86), src_in = bits(w, 107, 97);
  uint32_t wgt_out = bits(w, 117, 108), wgt_in = bits(w, 127, 118);
  uint32_t operation = bits(w, 110, 108);
  int immediate = !gemm && bits(w, 111, 111);
  int32_t value = (int16_t)bits(w, 127, 112);
  if (end > UOP_DEPTH || (!gemm && operation > 3)) return 1;
  for (uint32_t o = 0; o < outer; o++)
    for (uint32_t i = 0; i < inner; i++)
      for (uint32_t u = begin; u < end; u++) {
        uint32_t code = s->uop[u];
        uint32_t dst = (code & 2047u) + o * dst_out + i * dst_in;
        uint32_t src = (code >> 11 & 2047u) + o * src_out + i * src_in;
        uint32_t wgt = (code >> 22) + o * wgt_out + i * wgt_in;
        if (dst >= ACC_DEPTH) return 1;
        int32_t *sums = s->acc[dst];
        if (gemm && reset) {
          memset(sums, 0, sizeof s->acc[dst]);
        } else if (gemm) {
          if (src >= INP_DEPTH || wgt >= WGT_DEPTH) return 1;
          for (uint32_t r = 0; r < GROUPS * LANES; r++) {
            int32_t sum = 0;
            for (uint32_t c = 0; c < LANES; c++)
              sum += s->inp[src][c] * s->wgt[wgt][r / LANES][r % LANES][c];
            sums[r] = (int32_t)((uint32_t)sums[r] + (uint32_t)sum);
          }
        } else {
          if (!immediate && src >= ACC_DEPTH) return 1;
          for (uint32_t r = 0; r < GROUPS * LANES; r++)
            sums[r] = combined(operation, sums[r], immediate ? value : s->acc[src][r], immediate);
        }
      }
  return 0;
}

static int vta_launch(void *context, uint32_t core, uint32_t address, uint32_t count) {
  vta_state *s = (vta_state *)context;
  (void)core; /* programs of a launch leave each other's memory alone: one after another will do */
  s->failed = 1;
  if (!s->memory || address > s->bytes || count > (s->bytes - address) / 16) return 1;
  memset(s->uop, 0, sizeof s->uop);
  memset(s->inp, 0, sizeof s->inp);
  memset(s->wgt, 0, sizeof s->wgt);
  memset(s->acc, 0, sizeof s->acc);
  for (uint32_t k = 0; k < count; k++) {
    const uint8_t *at = s->memory + address + 16 * k;
    uint64_t w[2] = {(uint64_t)word(at) | (uint64_t)word(at + 4) << 32,
                     (uint64_t)word(at + 8) | (uint64_t)word(at + 12) << 32};
    uint32_t opcode = bits(w, 2, 0);
    int wrong = opcode > 4;
    if (opcode == 3) {
      s->failed = 0;
      return 0;
    }
    if (opcode < 2) wrong = move(s, w, opcode == 1);
    if (opcode == 2 || opcode == 4) wrong = compute(s, w, opcode == 2);
    if (wrong) return 1;
  }
  return 1; /* no FINISH */
}

static int vta_wait(void *context, uint32_t core) {
  (void)core;
  return ((vta_state *)context)->failed;
}

const npu_driver npu_simulator = {&state,     vta_allocate, vta_copy_in,
                                  vta_launch, vta_wait,     vta_copy_out};

/* A plugin of QEMU that counts executed Thumb instructions by class, within ranges of addresses:
   qemu-system-arm -plugin qemu_classes.so,range=BEGIN-END,range=…

   The declarations are those of version 1 of the interface of plugins, which QEMU documents. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef uint64_t qemu_plugin_id_t;
typedef struct qemu_info_t qemu_info_t;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
typedef void (*translated_t)(qemu_plugin_id_t, struct qemu_plugin_tb *);
typedef void (*ended_t)(qemu_plugin_id_t, void *);
enum { INLINE_ADD = 0 };

#define SHOWN __attribute__((visibility("default")))
SHOWN int qemu_plugin_version = 1;
SHOWN int qemu_plugin_install(qemu_plugin_id_t id, const qemu_info_t *info, int argc, char **argv);
void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t id, translated_t function);
void qemu_plugin_register_atexit_cb(qemu_plugin_id_t id, ended_t function, void *data);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *block);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *block, size_t index);
const void *qemu_plugin_insn_data(const struct qemu_plugin_insn *instruction);
size_t qemu_plugin_insn_size(const struct qemu_plugin_insn *instruction);
uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn *instruction);
void qemu_plugin_register_vcpu_insn_exec_inline(struct qemu_plugin_insn *instruction, int operation,
                                                void *counter, uint64_t value);

enum { LOAD, STORE, MULTIPLY, DIVIDE, BRANCH, FLOAT, VECTOR, OTHER, CLASSES };
static const char *const names[CLASSES] = {"load",   "store", "multiply", "divide",
                                           "branch", "float", "vector",   "other"};
static uint64_t counts[CLASSES];

enum { MOST_RANGES = 4096 };
static uint64_t begins[MOST_RANGES], ends[MOST_RANGES];
static int ranges;

static int class_of_narrow(unsigned w) {
  unsigned top = w >> 12;
  if (w >> 11 == 9) return LOAD;                                      /* from the literals */
  if (top == 5) return (w >> 9 & 7) >= 3 ? LOAD : STORE;              /* register offset */
  if (top == 6 || top == 7 || top == 8 || top == 9 || top == 12) return w >> 11 & 1 ? LOAD : STORE;
  if ((w & 0xFE00) == 0xBC00) return LOAD;
  if ((w & 0xFE00) == 0xB400) return STORE;
  if (top == 13 || w >> 11 == 28 || (w & 0xFF00) == 0x4700) return BRANCH;
  if ((w & 0xF500) == 0xB100) return BRANCH; /* compare with zero and branch */
  return (w & 0xFFC0) == 0x4340 ? MULTIPLY : OTHER;
}

static int class_of_wide(unsigned a, unsigned b) {
  bool loads = a & 0x10;
  if ((a & 0xFFF0) == 0xE8D0 && (b & 0xFFE0) == 0xF000) return BRANCH; /* table */
  if ((a & 0xFE00) == 0xE800) return loads ? LOAD : STORE;             /* several, pairs */
  if ((a & 0xFE00) == 0xF800) return loads ? LOAD : STORE;
  if ((a & 0xFF80) == 0xF000 && (b & 0xE001) == 0xC001) return BRANCH; /* loops of v8.1-M */
  if ((a & 0xF800) == 0xF000 && b & 0x8000) return BRANCH;
  if ((a & 0xFFD0) == 0xFB90) return DIVIDE;
  if ((a & 0xFF00) == 0xFB00) return MULTIPLY;
  if ((a & 0xEC00) == 0xEC00) return (b & 0x0E00) == 0x0A00 && (a & 0xEF00) != 0xEF00 ? FLOAT : VECTOR;
  return OTHER;
}

static void translated(qemu_plugin_id_t id, struct qemu_plugin_tb *block) {
  size_t size = qemu_plugin_tb_n_insns(block), i;
  (void)id;
  for (i = 0; i < size; i++) {
    struct qemu_plugin_insn *own = qemu_plugin_tb_get_insn(block, i);
    uint64_t at = qemu_plugin_insn_vaddr(own);
    const unsigned char *bytes = qemu_plugin_insn_data(own);
    unsigned first = (unsigned)(bytes[0] | bytes[1] << 8);
    int range, found;
    for (range = 0; range < ranges; range++)
      if (at >= begins[range] && at < ends[range]) break;
    if (range == ranges) continue;
    found = qemu_plugin_insn_size(own) == 2
                ? class_of_narrow(first)
                : class_of_wide(first, (unsigned)(bytes[2] | bytes[3] << 8));
    qemu_plugin_register_vcpu_insn_exec_inline(own, INLINE_ADD, &counts[found], 1);
  }
}

static void ended(qemu_plugin_id_t id, void *data) {
  int i;
  (void)id;
  (void)data;
  for (i = 0; i < CLASSES; i++)
    fprintf(stderr, "class %s %llu\n", names[i], (unsigned long long)counts[i]);
}

int qemu_plugin_install(qemu_plugin_id_t id, const qemu_info_t *info, int argc, char **argv) {
  int i;
  (void)info;
  for (i = 0; i < argc && ranges < MOST_RANGES; i++) {
    char *rest;
    if (strncmp(argv[i], "range=", 6) != 0) continue;
    begins[ranges] = strtoull(argv[i] + 6, &rest, 16);
    ends[ranges] = strtoull(rest + 1, NULL, 16);
    ranges++;
  }
  qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
  qemu_plugin_register_atexit_cb(id, ended, NULL);
  return 0;
}

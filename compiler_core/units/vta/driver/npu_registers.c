/*
 * VTA on a board: the driver of npu.h for the registers of its open RTL (the 32-bit pointers of its
 * Chisel shell). Never run where this file was written: check it against your bitstream.
 *
 *   offset  register
 *   0x00    control: write 1 to launch; bit 1 is set when the program has finished
 *   0x04    event counter: cycles of the last program
 *   0x08    number of instructions
 *   0x0c    physical address of the instructions
 *   0x10    base address of micro-ops; 0x14 inputs; 0x18 weights; 0x1c accumulators; 0x20 outputs
 *
 * The memory has to be physically contiguous and not cached, or NPU_FLUSH and NPU_INVALIDATE have
 * to be defined. Programs address it from 0 on in elements of what they move: its physical address
 * is the base of all five, and has to be aligned to 4096 bytes.
 */
#include <string.h>

#include "npu.h"

#ifndef NPU_CORES
#define NPU_CORES 1
#endif
#ifndef NPU_REGISTERS /* addresses of the registers of each core, as the processor sees them */
#define NPU_REGISTERS {0x43c00000u}
#endif
#ifndef NPU_MEMORY /* the memory, as the processor sees it */
#define NPU_MEMORY 0x10000000u
#endif
#ifndef NPU_MEMORY_PHYSICAL /* the same, as the cores see it */
#define NPU_MEMORY_PHYSICAL NPU_MEMORY
#endif
#ifndef NPU_MEMORY_BYTES
#define NPU_MEMORY_BYTES 0x10000000u
#endif
#ifndef NPU_FLUSH
#define NPU_FLUSH(at, bytes) ((void)(at), (void)(bytes))
#endif
#ifndef NPU_INVALIDATE
#define NPU_INVALIDATE(at, bytes) ((void)(at), (void)(bytes))
#endif
#ifndef NPU_PATIENCE
#define NPU_PATIENCE 0x7fffffff /* reads of the control register before a program has failed */
#endif

static const uintptr_t registers[NPU_CORES] = NPU_REGISTERS;

static volatile uint32_t *at(uint32_t core, uint32_t offset) {
  return (volatile uint32_t *)(registers[core] + offset);
}

static uint8_t *memory(void) { return (uint8_t *)(uintptr_t)NPU_MEMORY; }

static int vta_allocate(void *context, uint32_t bytes) {
  (void)context;
  return bytes > NPU_MEMORY_BYTES ? 1 : 0;
}

static int vta_copy_in(void *context, uint32_t address, const void *from, uint32_t bytes) {
  (void)context;
  memcpy(memory() + address, from, bytes);
  NPU_FLUSH(memory() + address, bytes);
  return 0;
}

static int vta_copy_out(void *context, uint32_t address, void *to, uint32_t bytes) {
  (void)context;
  NPU_INVALIDATE(memory() + address, bytes);
  memcpy(to, memory() + address, bytes);
  return 0;
}

static int vta_launch(void *context, uint32_t core, uint32_t address, uint32_t count) {
  (void)context;
  if (core >= NPU_CORES) return 1;
  *at(core, 0x08) = count;
  *at(core, 0x0c) = NPU_MEMORY_PHYSICAL + address;
  for (uint32_t offset = 0x10; offset <= 0x20; offset += 4) *at(core, offset) = NPU_MEMORY_PHYSICAL;
  *at(core, 0x00) = 1u;
  return 0;
}

static int vta_wait(void *context, uint32_t core) {
  (void)context;
  if (core >= NPU_CORES) return 1;
  for (long turn = 0; turn < NPU_PATIENCE; turn++)
    if (*at(core, 0x00) & 2u) return 0;
  return 1;
}

const npu_driver npu_registers = {0,          vta_allocate, vta_copy_in,
                                  vta_launch, vta_wait,     vta_copy_out};

/* Start-up for QEMU's mps2 and mps3 machines; input and output through newlib's semihosting. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

extern uint32_t _data_load, _data_start, _data_end, __bss_start__, __bss_end__, __stack;
int main(void);
void initialise_monitor_handles(void);
void Reset(void);

static void hang(void) {
  for (;;) {
  }
}

static void fault(void) { /* ends QEMU with status 1 */
  register uint32_t r0 __asm("r0") = 0x18, r1 __asm("r1") = 0x20023;
  __asm volatile("bkpt 0xab" : : "r"(r0), "r"(r1));
  hang();
}

typedef struct {
  void *stack;
  void (*handlers[15])(void);
} vector_table;

__attribute__((section(".vectors"), used)) const vector_table vectors = {
    &__stack, {Reset, hang, fault, fault, fault, fault}};

void _init(void) {}
void _fini(void) {}

void Reset(void) {
#if __ARM_FP
  *(volatile uint32_t *)0xE000ED88 |= 0xFu << 20; /* floating point and vectors on */
  __asm volatile("dsb\nisb");
#endif
  memcpy(&_data_start, &_data_load, (size_t)((char *)&_data_end - (char *)&_data_start));
  memset(&__bss_start__, 0, (size_t)((char *)&__bss_end__ - (char *)&__bss_start__));
  initialise_monitor_handles();
  exit(main());
}

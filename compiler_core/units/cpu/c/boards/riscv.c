/* Start-up without a library for qemu-riscv32: Linux system calls, and what compilers call. */
#include <stddef.h>

int main(void);
void begin(void);
void *memset(void *to, int value, size_t count);
void *memcpy(void *to, const void *from, size_t count);

__asm(".globl _start\n_start:\n .option push\n .option norelax\n la gp, __global_pointer$\n"
      " .option pop\n andi sp, sp, -16\n call begin\n");

void begin(void) {
  register long a0 __asm("a0") = main();
  register long a7 __asm("a7") = 93; /* exit */
  __asm volatile("ecall" : : "r"(a0), "r"(a7));
  for (;;) {
  }
}

void *memset(void *to, int value, size_t count) {
  volatile unsigned char *t = to;
  while (count--) *t++ = (unsigned char)value;
  return to;
}

void *memcpy(void *to, const void *from, size_t count) {
  volatile unsigned char *t = to;
  const unsigned char *f = from;
  while (count--) *t++ = *f++;
  return to;
}

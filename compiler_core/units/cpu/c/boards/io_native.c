/* Samples through standard input and output. */
#include <stdio.h>

int nt_read(void *to, unsigned long count);
int nt_write(const void *from, unsigned long count);

int nt_read(void *to, unsigned long count) { return fread(to, 1, count, stdin) != count; }

int nt_write(const void *from, unsigned long count) {
  return fwrite(from, 1, count, stdout) != count || fflush(stdout) != 0;
}
